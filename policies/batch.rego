# METADATA
# title: Many decisions at once
# description: >-
#   What the gateway asks for help and completion: the answers to `inputs`, in their order, each as if asked alone.
# schemas:
#   - input: {type: object, properties: {inputs: {type: array}}}
# entrypoint: true
package gateway.batch

import data.gateway.decision

results := [answer |
	some i in input.inputs
	answer := decision.result with input as i
]
