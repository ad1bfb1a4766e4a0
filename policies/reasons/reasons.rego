# Every reason a decision can give: who may read it, what it says, what to do next. A reason
# can itself tip somebody off, hence the audience: "requester" is independent of records.
package fairlead.reasons

# Which code a failed check gives. Checks whose code depends on the circumstances are not here.
of_check := {
	"input_valid": "INPUT_INVALID",
	"asker_known": "ASKER_UNKNOWN",
	"user_permitted": "USER_ROLE",
	"case_open": "CASE_CLOSED",
	"user_assigned": "CASE_NOT_ASSIGNED",
	"purpose_known": "PURPOSE_UNKNOWN",
	"legal_basis_fits": "LEGAL_BASIS",
	"query_bounded": "QUERY_LIMITS",
	"approvals_sufficient": "APPROVAL_REQUIRED",
	"partner_available": "NO_PARTNER",
	"partner_known": "PARTNER_UNKNOWN",
	"other_partner": "SAME_PARTNER",
	"schemes_answered": "SCHEME_NOT_ANSWERED",
	"grant_current": "GRANT_EXPIRED",
	"grant_matches": "GRANT_MISMATCH",
	"facets_granted": "NOTHING_GRANTED",
	"event_asked": "EVENT_NOT_ASKED",
	"purpose_shared": "RECORD_PURPOSE",
	"retained": "RECORD_EXPIRED",
	"tlp_permits": "HANDLING_TLP",
	"pap_permits": "HANDLING_PAP",
	"europol_known": "HANDLING_EUROPOL",
	"graded": "HANDLING_GRADE",
	"target_inactive": "ACTIVE_TARGET",
	"person_permits": "PERSON_RECORD",
	"facets_left": "NOTHING_TO_DISCLOSE",
}

# In order of importance.
catalogue := [
	requester("INPUT_INVALID", "The question is incomplete or not in the form policy expects.", "fairlead --version on both sides; then tell the operator"),
	requester("ASKER_UNKNOWN", "The asking organisation is of no kind this federation knows.", "fairlead partners"),
	requester("USER_ROLE", "None of your roles may ask.", "ask your partner's approver for the analyst role"),
	requester("CASE_MISSING", "There is no such case at your partner.", "fairlead cases list"),
	requester("CASE_CLOSED", "The case is closed or has expired.", "ask an approver: fairlead cases open"),
	requester("CASE_NOT_ASSIGNED", "You are not assigned to this case.", "ask an approver to assign you"),
	requester("CASE_MISMATCH", "The case was opened for another purpose, legal basis or scheme.", "fairlead cases list"),
	requester("PURPOSE_UNKNOWN", "The federation has no such purpose.", "fairlead ask --help"),
	requester("LEGAL_BASIS", "This legal basis does not fit the purpose or your kind of organisation.", "fairlead cases list"),
	requester("QUERY_LIMITS", "Too many terms, none at all, or a scheme the federation does not know.", "ask in smaller batches"),
	requester("APPROVAL_REQUIRED", "A second person must approve this question.", "ask an approver"),
	requester("NO_PARTNER", "No partner may be asked this.", "fairlead ask --dry-run shows why, partner by partner"),
	requester("PARTNER_UNKNOWN", "This partner is of no kind the federation knows.", "fairlead partners"),
	requester("SAME_PARTNER", "A partner does not ask itself.", "search your own systems"),
	requester("SCHEME_NOT_ANSWERED", "This partner does not answer for this kind of identifier.", "fairlead partners"),
	requester("NO_AGREEMENT", "No agreement lets your organisation ask this partner.", "ask your security officer for an agreement"),
	requester("PURPOSE_NOT_COVERED", "No agreement with this partner covers the purpose on this legal basis.", "ask your security officer for an agreement"),
	requester("SCHEME_NOT_COVERED", "No agreement with this partner covers this kind of identifier.", "ask your security officer for an agreement"),
	requester("ROLE_NOT_COVERED", "The agreement with this partner demands another role.", "ask a colleague who has it"),
	requester("TOO_MANY_TERMS", "The agreement with this partner allows fewer terms at once.", "ask in smaller batches"),
	requester("WINDOW_TOO_LONG", "The agreement with this partner allows a shorter period.", "fairlead ask --since 90d"),
	requester("BLIND_REQUIRED", "This partner may be asked blind only, so that nobody there learns the question.", "ask your security officer for an agreement that allows --mode sealed"),
	requester("MODE_NOT_COVERED", "No agreement with this partner covers this mode.", "ask your security officer for an agreement"),
	requester("GRANT_EXPIRED", "The gateway's grant has expired.", "ask again"),
	requester("GRANT_MISMATCH", "The gateway's grant is for another mode or policy.", "ask again; then tell the operator"),
	requester("NOTHING_GRANTED", "Gateway and owner permit nothing in common.", "ask the owner's contact desk"),
	owner("ACTIVE_TARGET", "The record is an active target: answered as no hit, the desk is told.", "contact the asking partner's desk"),
	owner("HANDLING_TLP", "The record's TLP does not let it leave.", "review the record's handling"),
	owner("HANDLING_PAP", "The record's PAP lets it be asked for blind only.", "review the record's handling"),
	owner("HANDLING_EUROPOL", "The record has no Europol handling code.", "fairlead-node source test"),
	owner("HANDLING_GRADE", "The record has no 4x4 evaluation.", "fairlead-node source test"),
	owner("PERSON_RECORD", "The record is about a person: it does not go to a private partner.", "review the record's mapping"),
	owner("RECORD_PURPOSE", "The record is not held for this purpose.", "review the record's purposes"),
	owner("RECORD_EXPIRED", "The record's retention has ended.", "import the source again"),
	owner("EVENT_NOT_ASKED", "The question is about other events.", ""),
	owner("NOTHING_TO_DISCLOSE", "Nothing of the record is left to disclose.", ""),
]

requester(code, text, remedy) := {
	"code": code, "audience": "requester",
	"text": text, "remedy": remedy,
}

owner(code, text, remedy) := {
	"code": code, "audience": "owner",
	"text": text, "remedy": remedy,
}

explain(codes) := [reason | some reason in catalogue; reason.code in codes]
