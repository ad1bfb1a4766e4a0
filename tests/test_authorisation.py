"""Who may call what: every RPC of every service has its row, and its expectation stands here."""

from __future__ import annotations

from functools import partial

import pytest

from fairlead.authorisation import Authorisation, Service, assert_every_rpc_has_row
from fairlead.errors import Misconfigured
from fairlead.user_authority.service import AUTHORISATION as AUTHORITY
from fairlead.v1 import (
    asking_pb2,
    audit_reading_pb2,
    authority_pb2,
    decisions_pb2,
    evidence_pb2,
    federation_pb2,
    gateway_pb2,
    owner_pb2,
    policy_pb2,
    reconcile_pb2,
    statistics_pb2,
    witness_pb2,
)
from gateway.service import AUTHORISATION as GATEWAY
from node.service import AUTHORISATION as NODE

EVERYBODY_AT_HOME = frozenset(
    f"user:{role}" for role in ("analyst", "approver", "security-officer", "auditor", "operator")
)
ASKING_FIGURES = frozenset(
    f"user:{role}" for role in ("analyst", "approver", "security-officer", "auditor")
)
EXPECTED: dict[str, frozenset[str]] = {
    "/fairlead.v1.AuthorityService/Enrol": frozenset({"stranger"}),
    "/fairlead.v1.AuthorityService/RenewCertificate": frozenset({"stranger"}),
    "/fairlead.v1.GatewayService/Query": frozenset({"node"}),
    "/fairlead.v1.GatewayService/PublishManifest": frozenset({"node"}),
    "/fairlead.v1.GatewayService/ListManifests": frozenset({"node"}),
    "/fairlead.v1.GatewayService/FetchPublication": frozenset({"node"}),
    "/fairlead.v1.FederationService/Follow": frozenset({"node"}),
    "/fairlead.v1.FederationService/PublishDenyList": frozenset({"node"}),
    "/fairlead.v1.FederationService/Renew": frozenset({"node"}),
    "/fairlead.v1.FederationService/FetchPolicy": frozenset({"node"}),
    "/fairlead.v1.FederationService/PublishPolicy": frozenset({"node"}),
    "/fairlead.v1.FederationService/ReportPolicy": frozenset({"node"}),
    "/fairlead.v1.FederationService/ListPolicies": frozenset({"node"}),
    "/fairlead.v1.ReconcileService/Reconcile": frozenset({"node"}),
    "/fairlead.v1.ReconcileService/Conclude": frozenset({"node"}),
    "/fairlead.v1.StatisticsService/QueryFigures": frozenset({"node"}),
    "/fairlead.v1.StatisticsService/PublishWaiver": frozenset({"node"}),
    "/fairlead.v1.PolicyService/GetPolicy": frozenset({"user:security-officer", "user:auditor"}),
    "/fairlead.v1.PolicyService/PublishPolicy": frozenset({"user:security-officer"}),
    "/fairlead.v1.PolicyService/PolicyStatus": frozenset(
        {"user:security-officer", "user:auditor", "user:operator"}
    ),
    "/fairlead.v1.OwnerService/Answer": frozenset({"gateway"}),
    "/fairlead.v1.OwnerService/Deliver": frozenset({"gateway"}),
    "/fairlead.v1.AskingService/Prepare": frozenset({"user:analyst"}),
    "/fairlead.v1.AskingService/Ask": frozenset({"user:analyst"}),
    "/fairlead.v1.AskingService/ListPartners": EVERYBODY_AT_HOME,
    "/fairlead.v1.AskingService/OpenCase": frozenset({"user:approver"}),
    "/fairlead.v1.GatewayService/Feedback": frozenset({"node"}),
    "/fairlead.v1.OwnerService/Feedback": frozenset({"gateway"}),
    "/fairlead.v1.AskingService/AssignCase": frozenset({"user:approver"}),
    "/fairlead.v1.AskingService/CloseCase": frozenset({"user:approver"}),
    "/fairlead.v1.AskingService/Resume": frozenset({"user:analyst"}),
    "/fairlead.v1.AskingService/ListQueries": frozenset({"user:analyst", "user:auditor"}),
    "/fairlead.v1.AskingService/ShowQuery": frozenset({"user:analyst", "user:auditor"}),
    "/fairlead.v1.AskingService/SendFeedback": frozenset({"user:analyst"}),
    "/fairlead.v1.AskingService/ListBudgets": frozenset({"user:analyst"}),
    "/fairlead.v1.AskingService/ListApprovals": frozenset({"user:approver"}),
    "/fairlead.v1.AskingService/ShowApproval": frozenset({"user:approver"}),
    "/fairlead.v1.AskingService/DecideApproval": frozenset({"user:approver"}),
    "/fairlead.v1.AskingService/ListReviews": frozenset({"user:approver"}),
    "/fairlead.v1.AskingService/DecideReview": frozenset({"user:approver"}),
    "/fairlead.v1.AskingService/ListWatches": frozenset({"user:analyst", "user:auditor"}),
    "/fairlead.v1.AskingService/ShowWatch": frozenset({"user:analyst"}),
    "/fairlead.v1.AskingService/RemoveWatch": frozenset({"user:analyst"}),
    "/fairlead.v1.AskingService/ListCubes": ASKING_FIGURES,
    "/fairlead.v1.AskingService/AskFigures": ASKING_FIGURES,
    "/fairlead.v1.AskingService/SignPack": ASKING_FIGURES,
    "/fairlead.v1.DecisionService/ReadDecisions": frozenset({"user:security-officer"}),
    "/fairlead.v1.AuditReadingService/ListLeaves": frozenset({"user:auditor"}),
    "/fairlead.v1.AuditReadingService/ShowLeaf": frozenset({"user:auditor"}),
    "/fairlead.v1.AuditReadingService/ExportLeaves": frozenset({"user:auditor"}),
    "/fairlead.v1.AuditReadingService/ListTimestamps": frozenset({"user:auditor"}),
    "/fairlead.v1.WitnessService/AddCheckpoint": frozenset({"gateway"}),
    "/fairlead.v1.FiguresService/GetReady": frozenset({"gateway"}),
    "/fairlead.v1.FiguresService/CountContributors": frozenset({"gateway"}),
    "/fairlead.v1.FiguresService/SumValues": frozenset({"gateway"}),
    "/fairlead.v1.EvidenceService/CollectEvidence": frozenset(
        {"user:analyst", "user:approver", "user:auditor"}
    ),
    "/fairlead.v1.AskingService/ListCases": frozenset(
        {"user:analyst", "user:approver", "user:auditor"}
    ),
}
SERVICES = [
    Service(descriptor=file.DESCRIPTOR.services_by_name[name], register=partial(print))
    for file, name in (
        (gateway_pb2, "GatewayService"),
        (reconcile_pb2, "ReconcileService"),
        (statistics_pb2, "StatisticsService"),
        (federation_pb2, "FederationService"),
        (owner_pb2, "OwnerService"),
        (asking_pb2, "AskingService"),
        (policy_pb2, "PolicyService"),
        (authority_pb2, "AuthorityService"),
        (decisions_pb2, "DecisionService"),
        (audit_reading_pb2, "AuditReadingService"),
        (witness_pb2, "WitnessService"),
        (statistics_pb2, "FiguresService"),
        (evidence_pb2, "EvidenceService"),
    )
]


def test_every_rpc_is_authorised_as_expected() -> None:
    """Each RPC of the wire contract has one row, and it admits exactly whom it should."""
    rows: Authorisation = {**GATEWAY, **NODE, **AUTHORITY}
    assert_every_rpc_has_row(SERVICES, rows, EXPECTED)


def test_every_service_of_the_contract_is_listed_here() -> None:
    """A service added to the wire contract without an expectation fails this test."""
    found = {
        f"/{service.full_name}/{method.name}"
        for file in (
            gateway_pb2,
            federation_pb2,
            owner_pb2,
            asking_pb2,
            authority_pb2,
            decisions_pb2,
            evidence_pb2,
            policy_pb2,
            audit_reading_pb2,
            witness_pb2,
            reconcile_pb2,
            statistics_pb2,
        )
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert found == EXPECTED.keys()


@pytest.mark.parametrize("rpc", sorted(EXPECTED))
def test_an_rpc_without_row_or_expectation_fails(rpc: str) -> None:
    """Taking any row, or any expectation, away is an error that names the RPC."""
    rows: Authorisation = {**GATEWAY, **NODE, **AUTHORITY}
    fewer = {name: row for name, row in rows.items() if name != rpc}
    with pytest.raises(Misconfigured) as without_row:
        assert_every_rpc_has_row(SERVICES, fewer, EXPECTED)
    unexpected = {name: kinds for name, kinds in EXPECTED.items() if name != rpc}
    with pytest.raises(Misconfigured) as without_expectation:
        assert_every_rpc_has_row(SERVICES, rows, unexpected)
    assert rpc in without_row.value.remedy
    assert rpc in without_expectation.value.remedy
