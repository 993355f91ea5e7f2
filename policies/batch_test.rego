# Many decisions at once are the same decisions.
package gateway_test.batch

import data.gateway.batch
import data.gateway_test.fixtures

inputs := [
	fixtures.base,
	object.union(fixtures.base, {"action": {"name": "status", "effect": "read"}}),
	{},
	object.union(fixtures.base, {"subject": {"groups": []}, "request": {"hash": "sha256:bbb"}}),
]

answers(asked) := results if {
	results := batch.results with input as {"inputs": asked}
		with data.roles as fixtures.roles
}

test_every_answer_is_the_one_given_alone_in_the_same_order if {
	answers(inputs) == [fixtures.answer(asked) | some asked in inputs]
	[answer.effect | some answer in answers(inputs)] == ["pending", "allow", "deny", "deny"]
	[answer.request_hash | some answer in answers(inputs)] == ["sha256:aaa", "sha256:aaa", "", "sha256:bbb"]
}

test_nothing_asked_is_nothing_answered if answers([]) == []
