"""The worker API: announce, claim, progress, report. Only workers, with their own token; no people, no adapters."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.api.callers import HouseDep, WorkerDep
from gateway.api.openapi import InvocationId, failures
from gateway.flows import claim, report
from gateway.infra.telemetry import about
from opsgate.contracts.jobs import (
    Announce,
    ClaimAnswer,
    ClaimJob,
    JobProgress,
    JobReport,
    ProgressAnswer,
    ReportAnswer,
)

router = APIRouter(prefix="/worker/v1", tags=["workers"], dependencies=[WorkerDep], responses=failures(401, 422, 503))


@router.post("/announce", status_code=204, operation_id="announce")
async def announce(house: HouseDep, body: Announce) -> None:
    """What this worker can carry out; repeated as a sign of life."""
    await house.store.announce(body.worker, body.operations, house.gate.clock.now_ns())


@router.post("/claims", operation_id="claimJob", responses=failures(403))
async def claim_job(house: HouseDep, body: ClaimJob) -> ClaimAnswer:
    about(body.job)
    return await claim.claim(house.gate, body)


@router.post("/jobs/{job}/progress", operation_id="jobProgress")
async def job_progress(house: HouseDep, job: InvocationId, body: JobProgress) -> ProgressAnswer:
    return await report.progress(house.gate, job, body)


@router.post("/jobs/{job}/report", operation_id="jobReport")
async def job_report(house: HouseDep, job: InvocationId, body: JobReport) -> ReportAnswer:
    return await report.report(house.gate, job, body)
