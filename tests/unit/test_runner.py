"""What a worker does about a wake-up: claim, carry out one step, report; in every branch."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from opsgate.connectors import (
    Cancelled,
    ConnectorError,
    Failed,
    OutsideUnreachable,
    Progressing,
    Succeeded,
)
from opsgate.contracts.jobs import ClaimAnswer, WakeUp
from tests.unit.runner_doubles import DONE, WAKE, Clock, FakeGateway, OnceWork, Work, carry, claim, report_of
from workers.runner import Runner

AWAY = OutsideUnreachable("The cloud does not answer.")
NO = ConnectorError("The cloud says no.")


class TestStart:
    def test_it_probes_then_starts_then_looks_once_and_asks_to_be_woken_again(self) -> None:
        """One look a claim: nothing holds a worker for the length of a rollout."""
        gateway, work = FakeGateway(claim()), Work()
        report = report_of(work, gateway)
        assert work.calls == ["probe", "start", "follow"]
        assert (report.result, report.summary, report.percent) == ("running", "half way", 50)
        assert (report.again_after_s, report.handle, report.fence) == (1.5, {"run": 7}, 1)
        assert gateway.claimed[0].model_dump() == {"worker": "worker-a", "job": "inv_1", "ticket": "signed"}

    def test_the_handle_is_stored_before_anything_else_can_go_wrong(self) -> None:
        """A crash right after start must not lose it."""
        gateway = FakeGateway(claim())

        def look() -> Succeeded:
            assert [told.handle for told in gateway.told] == [{"run": 7}]
            return DONE

        assert report_of(Work(follow=[look]), gateway).result == "succeeded"

    def test_what_was_started_already_is_found_and_not_started_again(self) -> None:
        """A worker that died after start left it behind; its handle is stored now."""
        gateway, work = FakeGateway(claim()), Work(probe=[{"run": 3}], follow=[DONE])
        report = report_of(work, gateway)
        assert work.calls == ["probe", "follow"]
        assert gateway.told[0].handle == {"run": 3}
        assert (report.result, report.facts) == ("succeeded", {"size": 3})

    def test_a_refusal_is_a_failure_in_the_words_of_the_outside(self) -> None:
        """Nothing was changed, for sure."""
        report = report_of(OnceWork(start=[NO]), FakeGateway(claim()))
        assert (report.result, report.summary) == ("failed", "The cloud says no.")

    def test_without_an_answer_to_start_the_probe_decides_and_finds_it(self) -> None:
        """It had begun: go on as if it had answered."""
        work = OnceWork(probe=[None, {"run": 9}], start=[AWAY], follow=[DONE])
        assert report_of(work, FakeGateway(claim())).result == "succeeded"
        assert work.calls == ["probe", "start", "probe", "follow"]

    def test_without_an_answer_and_without_a_trace_a_repeatable_start_is_tried_at_the_next_claim(self) -> None:
        """Not now: the next claim probes first."""
        work = Work(probe=[None, None], start=[AWAY])
        report = report_of(work, FakeGateway(claim()))
        assert (report.result, report.handle, report.again_after_s) == ("running", None, 5)
        assert work.calls == ["probe", "start", "probe"]

    def test_without_an_answer_and_without_a_trace_an_unrepeatable_start_failed(self) -> None:
        """The probe is certain, but a second start is for a person to ask."""
        report = report_of(OnceWork(probe=[None, None], start=[AWAY]), FakeGateway(claim()))
        assert report.result == "failed"
        assert report.summary.endswith("It shows nothing begun for this; look before you ask again.")

    def test_without_an_answer_to_start_and_probe_an_unrepeatable_start_is_unknown(self) -> None:
        """Nobody knows, so nobody says failed, and nobody starts it again."""
        report = report_of(OnceWork(probe=[None, AWAY], start=[AWAY]), FakeGateway(claim()))
        assert report.result == "unknown"
        assert "look at it by hand before you ask again" in report.summary

    def test_without_an_answer_to_start_and_probe_a_repeatable_start_is_looked_at_again(self) -> None:
        """It does no harm to begin it twice."""
        assert report_of(Work(probe=[None, AWAY], start=[AWAY]), FakeGateway(claim())).result == "running"

    def test_without_an_answer_to_the_first_probe_nothing_is_started(self) -> None:
        """It is looked at again instead, even when a start cannot be repeated: none was made."""
        work = OnceWork(probe=[AWAY])
        report = report_of(work, FakeGateway(claim()))
        assert (report.result, report.handle, work.calls) == ("running", None, ["probe"])

    def test_with_no_time_left_nothing_is_started(self) -> None:
        """It waited too long for a worker."""
        work = Work()
        report = report_of(work, FakeGateway(claim(deadline_s=0)))
        assert (report.result, work.calls) == ("failed", ["probe"])
        assert "nothing was changed" in report.summary

    def test_a_lease_lost_during_the_probe_starts_nothing_and_reports_nothing(self) -> None:
        """Another worker has it by now."""
        clock = Clock()

        def slow_probe() -> None:
            clock.now += 31

        work = Work(probe=[slow_probe])
        assert carry(work, FakeGateway(claim()), clock) is None
        assert work.calls == ["probe"]

    def test_when_the_gateway_says_the_lease_is_gone_it_stops_at_once(self) -> None:
        """Told when it stores the handle: no look, no report."""
        work = Work()
        assert carry(work, FakeGateway(claim(), held=False)) is None
        assert work.calls == ["probe", "start"]

    def test_a_handle_that_could_not_be_stored_goes_with_the_report(self) -> None:
        """The gateway was away for a moment; probe would find it too."""
        report = report_of(Work(), FakeGateway(claim(), down_for={"progress"}))
        assert (report.result, report.handle) == ("running", {"run": 7})


class TestFollow:
    @pytest.mark.parametrize(
        ("result", "name"),
        [(DONE, "succeeded"), (Failed("It broke."), "failed"), (Cancelled("Stopped."), "cancelled")],
    )
    def test_an_ending_is_reported_with_its_words(self, result: Any, name: str) -> None:
        """One look, no start."""
        work = Work(follow=[result])
        report = report_of(work, FakeGateway(claim("follow")))
        assert (report.result, report.summary, work.calls) == (name, result.summary, ["follow"])

    @pytest.mark.parametrize(("asked", "given"), [(0, 0.2), (2, 2), (9999, 300)])
    def test_the_next_look_is_never_too_soon_or_too_late(self, asked: float, given: float) -> None:
        """Within what the contract allows."""
        report = report_of(Work(follow=[Progressing("on it", 400, asked)]), FakeGateway(claim("follow")))
        assert (report.again_after_s, report.percent) == (given, 100)

    def test_no_answer_means_looking_again(self) -> None:
        """The handle is kept, nothing is decided."""
        report = report_of(OnceWork(follow=[AWAY]), FakeGateway(claim("follow")))
        assert (report.result, report.handle) == ("running", {"run": 7})
        assert report.summary == "The cloud does not answer. Looking again."

    def test_no_answer_until_the_time_is_over_is_unknown(self) -> None:
        """It may have happened."""
        assert report_of(Work(follow=[AWAY]), FakeGateway(claim("follow", deadline_s=0))).result == "unknown"

    def test_over_its_time_it_is_stopped_and_says_so(self) -> None:
        """A Job that was stopped for its time limit failed; nobody had cancelled it."""
        work = Work()
        report = report_of(work, FakeGateway(claim("follow", deadline_s=-1)))
        assert work.calls == ["follow", "cancel"]
        assert report.result == "failed"
        assert report.summary == "It took longer than its time limit and was stopped. Stopped."

    def test_an_end_that_came_with_the_time_limit_counts(self) -> None:
        """Done is done."""
        assert report_of(Work(follow=[DONE]), FakeGateway(claim("follow", deadline_s=-1))).result == "succeeded"

    def test_what_does_not_stop_long_after_its_time_is_unknown(self) -> None:
        """A person has to look."""
        work = Work(cancel=[Progressing("stopping")])
        assert report_of(work, FakeGateway(claim("follow", deadline_s=-121))).result == "unknown"

    def test_what_is_still_stopping_after_its_time_is_looked_at_again(self) -> None:
        """It gets a grace."""
        work = Work(cancel=[Progressing("stopping")])
        assert report_of(work, FakeGateway(claim("follow", deadline_s=-1))).result == "running"


class TestCancel:
    def test_the_cancel_step_stops_it(self) -> None:
        """Without looking first."""
        work = Work()
        report = report_of(work, FakeGateway(claim("cancel")))
        assert (report.result, report.summary, work.calls) == ("cancelled", "Stopped.", ["cancel"])

    def test_a_success_that_came_first_stays_a_success(self) -> None:
        """The outside system has the last word."""
        assert report_of(Work(cancel=[DONE]), FakeGateway(claim("cancel"))).result == "succeeded"

    def test_stopping_takes_its_time(self) -> None:
        """It is looked at again."""
        report = report_of(Work(cancel=[Progressing("stopping", 80, 1)]), FakeGateway(claim("cancel")))
        assert (report.result, report.summary) == ("running", "stopping")

    def test_what_was_never_started_is_cancelled_without_a_call(self) -> None:
        """The probe is certain."""
        work = Work()
        assert report_of(work, FakeGateway(claim("cancel", handle=None))).result == "cancelled"
        assert work.calls == ["probe"]

    def test_what_a_dead_worker_started_is_found_and_stopped(self) -> None:
        """And its handle stored."""
        gateway, work = FakeGateway(claim("cancel", handle=None)), Work(probe=[{"run": 4}])
        assert report_of(work, gateway).result == "cancelled"
        assert gateway.told[0].handle == {"run": 4}

    def test_what_cannot_be_stopped_goes_on_and_the_team_is_told(self) -> None:
        """A refusal to stop is not a failure of the work."""
        report = report_of(Work(cancel=[NO]), FakeGateway(claim("cancel")))
        assert report.result == "running"
        assert report.lines == ("It could not be stopped: The cloud says no.",)

    def test_no_answer_to_cancel_means_looking_again(self) -> None:
        """The gateway still knows that it is to be stopped."""
        assert report_of(Work(cancel=[AWAY]), FakeGateway(claim("cancel"))).result == "running"

    def test_a_cancel_asked_while_it_starts_stops_it_after_the_look(self) -> None:
        """The answer to the stored handle says so."""
        work = Work()
        assert report_of(work, FakeGateway(claim(), cancel=True)).result == "cancelled"
        assert work.calls == ["probe", "start", "follow", "cancel"]


class TestTrouble:
    def test_an_unexpected_error_is_said_without_its_text_and_logged_with_it(self) -> None:
        """The text of an error may hold what must not be shown in a chat."""
        with capture_logs() as logs:
            report = report_of(Work(follow=[KeyError("s3cret")]), FakeGateway(claim("follow")))
        assert report.result == "failed"
        assert report.summary.startswith("double.work broke on an unexpected KeyError.")
        assert "s3cret" not in report.model_dump_json()
        assert any(line["event"] == "operation.broke" and line.get("exc_info") for line in logs)

    def test_an_unexpected_error_before_an_unrepeatable_start_is_a_failure(self) -> None:
        """Nothing can have happened."""
        assert report_of(OnceWork(probe=[KeyError()]), FakeGateway(claim())).result == "failed"

    @pytest.mark.parametrize("answer", [claim("follow"), claim(fence=2)])
    def test_an_unexpected_error_once_it_may_have_begun_is_unknown(self, answer: ClaimAnswer) -> None:
        """For a start that cannot be repeated, no guess is made."""
        work = OnceWork(probe=[KeyError()], follow=[KeyError()])
        assert report_of(work, FakeGateway(answer)).result == "unknown"

    @pytest.mark.parametrize(
        "work", [Work(follow=[Succeeded("ok", {"at": object()})]), Work(start=[{"socket": object()}])]
    )
    def test_what_cannot_be_written_as_json_does_not_stop_the_report(self, work: Work) -> None:
        """A mistake of a connector ends its Job, not the worker."""
        assert report_of(work, FakeGateway(claim())).result == "failed"

    def test_facts_of_common_kinds_become_json(self) -> None:
        """A time is a text."""
        work = Work(follow=[Succeeded("ok", {"at": datetime(2026, 11, 2, tzinfo=UTC)})])
        assert report_of(work, FakeGateway(claim("follow"))).facts == {"at": "2026-11-02T00:00:00Z"}

    def test_an_operation_that_is_not_offered_here_is_said(self) -> None:
        """With the setting that would offer it."""
        report = report_of(Work(), FakeGateway(claim(operation="double.other")))
        assert report.result == "failed"
        assert "OPSGATE_CONNECTORS" in report.summary

    def test_an_input_that_does_not_fit_is_said(self) -> None:
        """Nothing is called."""
        work = Work()
        report = report_of(work, FakeGateway(claim(input={"wat": 1})))
        assert (report.result, work.calls) == ("failed", [])
        assert "what: Field required; wat: Extra inputs are not permitted" in report.summary

    @pytest.mark.parametrize("call", ["claim", "report"])
    def test_a_gateway_that_is_away_leaves_everything_to_the_next_wake_up(self, call: str) -> None:
        """The runner does not raise: a message is only a wake-up."""
        assert carry(Work(), FakeGateway(claim(), down_for={call})) is None

    def test_a_claim_answered_with_skip_does_nothing(self) -> None:
        """A doubled message changes nothing."""
        gateway, work = FakeGateway(ClaimAnswer(verdict="skip", why="done")), Work()
        assert carry(work, gateway) is None
        assert (work.calls, gateway.told) == ([], [])


class TestLease:
    def test_it_is_renewed_while_a_call_is_in_flight_and_lines_go_along(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every third of the lease; the look below ends when it was renewed twice."""
        gateway = FakeGateway(claim("follow", lease_s=1))
        enough = Event()
        work = Work()

        def look() -> Succeeded:
            work.runs[-1].log("still copying\n")
            assert enough.wait(5)
            return DONE

        work._answers["follow"] = [look]
        original = gateway.progress

        def progress(job: str, told: Any) -> Any:
            answer = original(job, told)
            if len(gateway.told) == 2:
                enough.set()
            return answer

        monkeypatch.setattr(gateway, "progress", progress)
        Runner(gateway, {work.name: work}, "worker-a").wake(WAKE)
        assert gateway.told[0].lines == ("still copying",)
        assert gateway.reported[0].lines == ()

    def test_renewing_stops_when_the_gateway_says_it_is_gone(self) -> None:
        """And the result of the call is reported to nobody."""
        gateway = FakeGateway(claim("follow", lease_s=1), held=False)
        pause = Event()
        work = Work(follow=[lambda: pause.wait(1.2) or DONE])
        Runner(gateway, {work.name: work}, "worker-a").wake(WAKE)
        assert (len(gateway.told), gateway.reported) == (1, [])

    def test_many_lines_are_sent_ahead_of_the_report(self) -> None:
        """500 a message; where there were too many to keep, it says so."""
        work = Work()

        def look() -> Succeeded:
            for n in range(5003):
                work.runs[-1].log(f"line {n}")
            return DONE

        work._answers["follow"] = [look]
        gateway = FakeGateway(claim("follow"))
        report = report_of(work, gateway)
        lines = [line for told in gateway.told for line in told.lines] + list(report.lines)
        assert lines[:5000] == [f"line {n}" for n in range(5000)]
        assert lines[5000:] == ["(lines were left out here: too many at once)"]

    def test_the_operation_is_told_the_correlation_id_and_its_time(self) -> None:
        """Seconds until the deadline, never below 0."""
        work = Work()
        report_of(work, FakeGateway(claim("follow", deadline_s=-5)))
        assert [(run.correlation_id, run.remaining_s) for run in work.runs] == [("inv_1", 0.0)] * 2


def test_every_log_line_has_the_invocation_and_the_trace() -> None:
    """Also without a collector of traces: the ids of the message are enough."""
    seen: list[dict[str, Any]] = []

    def look() -> Succeeded:
        seen.append(structlog.contextvars.get_contextvars())
        return DONE

    trace_id = "0af7651916cd43dd8448eb211c80319c"
    wake = WakeUp(job="inv_1", ticket="signed", traceparent=f"00-{trace_id}-b7ad6b7169203331-01")
    Runner(FakeGateway(claim("follow")), {"double.work": Work(follow=[look])}, "worker-a").wake(wake)
    assert seen == [{"invocation_id": "inv_1", "trace_id": trace_id}]
    assert structlog.contextvars.get_contextvars() == {}
