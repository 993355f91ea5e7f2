# When changes may be made (A16). tests/policies tries real clocks around the changes to and from summer time.
package gateway_test.windows

import data.gateway_test.fixtures

office := {
	"name": "office hours", "kind": "allow", "environments": ["production"], "services": [], "zone": "Europe/London",
	"weekdays": ["mon", "tue"], "from": "09:00", "to": "16:30",
}

closing := {
	"name": "end of month", "kind": "deny", "environments": [], "services": ["api-service"], "zone": "Europe/London",
	"weekdays": [], "from": "12:00", "to": "14:00",
}

night := object.union(office, {"name": "night", "weekdays": ["mon"], "from": "22:00", "to": "06:00"})

at(windows, weekday, minute) := on(windows, weekday, minute, dates[weekday], {})

dates := {"sun": "2025-11-23", "mon": "2025-11-24", "tue": "2025-11-25", "wed": "2025-11-26"}

on(windows, weekday, minute, date, change) := fixtures.ask_under({"windows": windows}, object.union(change, local(weekday, minute, date)))

local(weekday, minute, date) := {"now": {"local": {"Europe/London": {"date": date, "weekday": weekday, "minute_of_day": minute}}}}

only(result, code) if {
	result.effect == "deny"
	fixtures.codes(result) == {code}
}

test_a16_without_windows_changes_are_made_at_any_time if at([], "sun", 0).effect == "pending"

test_a16_a_target_with_windows_changes_only_inside_one if {
	at([office], "mon", 540).effect == "pending"
	at([office], "mon", 989).effect == "pending"
	only(at([office], "mon", 539), "outside_window")
	only(at([office], "mon", 990), "outside_window")
	only(at([office], "sun", 600), "outside_window")
	at([office, object.union(office, {"weekdays": ["sun"]})], "sun", 600).effect == "pending"
}

test_a16_a_refusal_says_when_changes_are_made if {
	r := at([office], "sun", 600)
	contains(fixtures.messages(r), "only inside office hours (mon,tue 09:00-16:30 Europe/London)")
	contains(fixtures.messages(r), "break the glass")
}

test_a16_a_deny_window_overrides if {
	r := at([office, closing], "mon", 780)
	only(r, "window_closed")
	contains(fixtures.messages(r), "end of month (12:00-14:00 Europe/London)")
	at([office, closing], "mon", 719).effect == "pending"
	at([office, closing], "mon", 840).effect == "pending"
}

test_a16_windows_are_for_their_targets if {
	staging := {"resource": {"env": "staging"}}
	on([office], "sun", 600, "2025-11-23", staging).effect == "allow"
	other := {"resource": {"service": "ledger", "owners": ["owners:ledger"]}}
	on([closing], "mon", 780, "2025-11-24", other).effect == "pending"
	only(on([closing], "mon", 780, "2025-11-24", {"resource": {"service": ""}}), "window_closed")
}

test_a16_a_window_over_midnight_belongs_to_the_day_it_began if {
	at([night], "mon", 1320).effect == "pending"
	at([night], "tue", 359).effect == "pending"
	only(at([night], "mon", 359), "outside_window")
	only(at([night], "tue", 1320), "outside_window")
	only(at([night], "tue", 360), "outside_window")
}

test_a16_a_window_from_and_to_the_same_minute_is_a_whole_day if {
	day := object.union(office, {"from": "00:00", "to": "00:00"})
	at([day], "mon", 0).effect == "pending"
	at([day], "mon", 1439).effect == "pending"
	only(at([day], "wed", 0), "outside_window")
}

test_a16_a_window_may_be_for_certain_days if {
	eve := object.union(closing, {"from": "20:00", "to": "04:00", "dates": ["2025-12-31"]})
	only(on([eve], "wed", 1200, "2025-12-31", {}), "window_closed")
	r := on([eve], "thu", 239, "2026-01-01", {})
	only(r, "window_closed")
	contains(fixtures.messages(r), "(2025-12-31 20:00-04:00 Europe/London)")
	on([eve], "thu", 240, "2026-01-01", {}).effect == "pending"
	on([eve], "tue", 1200, "2025-12-30", {}).effect == "pending"
}

test_a16_a_zone_the_gateway_does_not_keep_stops_changes if {
	every kind in ["allow", "deny"] {
		r := at([office, object.union(closing, {"zone": "Mars/Base", "kind": kind})], "mon", 600)
		only(r, "zone_unknown")
		contains(fixtures.messages(r), "Mars/Base")
		contains(fixtures.messages(r), "OPSGATE_ZONES")
	}
}

test_a16_reads_switches_and_a_broken_glass_pass if {
	every windows in [[office, closing], [object.union(office, {"zone": "Mars/Base"})], ["broken"]] {
		every change in [
			{"action": {"name": "status", "effect": "read"}},
			{"subject": {"groups": ["members", "security"]}, "action": {"name": "freeze"}},
			{
				"subject": {"id": "olga", "groups": ["members", "oncall:api-service"]},
				"request": {"break_glass": {"requested": true, "reason": "checkout is down for everybody", "incident": "INC-42"}},
			},
		] {
			on(windows, "sun", 780, "2025-11-23", change).effect == "allow"
		}
	}
}

test_a16_a_job_that_did_not_start_inside_is_refused_at_the_claim if {
	late := {"phase": "execute", "approvals": [fixtures.bob]}
	on([office], "mon", 989, "2025-11-24", late).effect == "allow"
	only(on([office], "mon", 990, "2025-11-24", late), "outside_window")
}

test_a_broken_window_stops_changes if {
	every change in [
		{"name": 7}, {"kind": "maybe"}, {"environments": null}, {"services": [7]}, {"zone": null},
		{"weekdays": ["monday"]}, {"weekdays": "mon"}, {"from": "9:00"}, {"to": "24:00"}, {"to": 990},
		{"dates": ["24 Dec"]}, {"dates": [7]}, {"dates": null}, {"day": ["2025-12-24"]},
	] {
		only(at([object.union(office, change)], "mon", 600), "bad_data")
	}
	every field in object.keys(office) { only(at([object.remove(office, [field])], "mon", 600), "bad_data") }
	every windows in [null, {}, "x", ["x"], [null]] { only(at(windows, "mon", 600), "bad_data") }
}
