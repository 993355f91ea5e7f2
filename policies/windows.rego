# METADATA
# title: Change windows
# description: >-
#   When changes may be made, as data: `windows` in data.json. A deny window that is open refuses, whatever else holds. Where
#   allow windows match a target, it changes only inside one of them; where none matches, at any time.
#   Overrun: the policy is asked again when a job starts. A job that started inside may finish; one that has not started
#   when the window closes is refused then. Reads, the switches and a broken glass pass.
package gateway.windows

import data.gateway.break_glass
import data.gateway.members
import data.gateway.shape
import data.gateway.words

deny contains {"code": "window_closed", "msg": msg} if {
	kept
	some window in matching
	window.kind == "deny"
	inside(window)
	msg := sprintf("No changes to %s now: %s (%s). Ask again afterwards; in an emergency whoever is on call may break the glass.", [words.target, window.name, span(window)])
}

deny contains {"code": "outside_window", "msg": msg} if {
	kept
	allowing := {window | some window in matching; window.kind == "allow"}
	count(allowing) > 0
	count({window | some window in allowing; inside(window)}) == 0
	spans := concat("; ", sort({sprintf("%s (%s)", [window.name, span(window)]) | some window in allowing}))
	msg := sprintf("%s changes only inside %s. Ask again then; in an emergency whoever is on call may break the glass.", [words.target, spans])
}

# A window whose local time nobody knows is one nobody can keep.
deny contains {"code": "zone_unknown", "msg": msg} if {
	kept
	some window in matching
	not input.now.local[window.zone]
	msg := sprintf(
		"The change window %s is in the time zone %s, and the gateway was not told to keep that: add it to OPSGATE_ZONES. Tell the people who run the gateway; in an emergency whoever is on call may break the glass.",
		[window.name, window.zone],
	)
}

deny contains {"code": "bad_data", "msg": msg} if {
	kept
	not whole
	msg := "The policy's own data has a broken change window, so nothing changes. Ask security to repair windows in data.json; in an emergency whoever is on call may break the glass."
}

# Whom windows are for.
kept if {
	members.changes
	not break_glass.active
}

# ---- which windows, and when --------------------------------------------------------------

matching contains window if {
	whole
	some window in data.windows
	covers(window.environments, input.resource.env)
	covers(window.services, input.resource.service)
}

# An empty list is everything; a change that names no environment or service may touch any.
covers([], _)

covers(_, "")

covers(names, name) if name in names

inside(window) if {
	now := input.now.local[window.zone]
	minute(window.from) <= now.minute_of_day
	not early(window, now)
	on(window, now.weekday, now.date)
}

# Over midnight, the hours after it belong to the window that began the day before.
inside(window) if {
	overnight(window)
	now := input.now.local[window.zone]
	now.minute_of_day < minute(window.to)
	before := time.add_date(time.parse_ns("2006-01-02", now.date), 0, 0, -1)
	on(window, lower(substring(time.weekday(before), 0, 3)), time.format([before, "UTC", "2006-01-02"]))
}

early(window, now) if {
	not overnight(window)
	now.minute_of_day >= minute(window.to)
}

overnight(window) if minute(window.to) <= minute(window.from)

on(window, weekday, date) if {
	covers(window.weekdays, weekday)
	covers(object.get(window, "dates", []), date)
}

minute(text) := (to_number(substring(text, 0, 2)) * 60) + to_number(substring(text, 3, 2))

span(window) := concat(" ", array.concat(days(window), [sprintf("%s-%s %s", [window.from, window.to, window.zone])]))

days(window) := [concat(",", names) |
	some names in [window.weekdays, object.get(window, "dates", [])]
	count(names) > 0
]

# ---- is the data whole? -------------------------------------------------------------------

whole if {
	is_array(data.windows)
	every window in data.windows { good(window) }
}

# An unknown word may be a misspelt one, and then the window would match more or less than was meant.
good(window) if {
	is_object(window)
	object.keys(window) - {"name", "kind", "environments", "services", "zone", "weekdays", "from", "to", "dates"} == set()
	is_string(window.name)
	window.kind in {"allow", "deny"}
	shape.texts(window.environments)
	shape.texts(window.services)
	is_string(window.zone)
	is_array(window.weekdays)
	every day in window.weekdays { day in {"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }
	clock(window.from)
	clock(window.to)
	dates := object.get(window, "dates", [])
	shape.texts(dates)
	every date in dates { shape.day(date) }
}

clock(text) if {
	is_string(text)
	regex.match(`^([01][0-9]|2[0-3]):[0-5][0-9]$`, text)
}
