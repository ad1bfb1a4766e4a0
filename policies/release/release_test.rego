package fairlead.release_test

import data.fairlead.fixtures as f
import data.fairlead.release

# The decisions in the order of the records.
decide(document) := under(document, f.federation)

under(document, federation) := [d.decisions[name] | some name in d.records] if {
	d := release.decision with input as document with data.federation as federation
}

one(path, value) := decide(f.put(f.release, concat("", ["/records/0/", path]), value))[0]

# A business record leaves without names and without fields nobody registered.
test_releases_redacted if {
	d := decide(f.release)[0]
	d.effect == "permit"
	{x | some x in d.facets} == {"existence", "full_record"}
	{x | some x in d.obligations.redact} == {"driver", "unheard_of"}
}

# One decision per record, each under its own index.
test_batch if {
	bad := object.union(f.record, {"tlp": "RED"})
	d := decide(f.put(f.release, "/records", [bad, f.record, bad]))
	[r.effect | some r in d] == ["deny", "permit", "deny"]
}

test_handling if {
	"HANDLING_TLP" in f.codes(one("tlp", "RED"))
	"HANDLING_TLP" in f.codes(one("tlp", ""))
	"HANDLING_TLP" in f.codes(one("tlp", "UNSPECIFIED"))
	"HANDLING_PAP" in f.codes(one("pap", "RED"))
	"HANDLING_PAP" in f.codes(one("pap", ""))
	"HANDLING_EUROPOL" in f.codes(one("europol", ""))
	"HANDLING_GRADE" in f.codes(one("source_grade", "D"))
	"HANDLING_GRADE" in f.codes(one("information_grade", ""))
}

# PAP RED: the subject must not notice, so blind questions only.
test_pap_red_is_for_blind_questions if {
	blind := f.put(f.release, "/query/mode", "blind")
	decide(f.put(blind, "/records/0/pap", "RED"))[0].effect == "permit"
}

# H2 and H3 are pointers: that something exists, and whom to call.
test_restricted_dissemination_is_a_pointer if {
	one("europol", "H2").facets == ["existence"]
	one("europol", "H3").facets == ["existence"]
}

# AMBER+STRICT goes in full to public partners only.
test_amber_strict if {
	"full_record" in one("tlp", "AMBER_STRICT").facets
	strict := f.put(f.release, "/records/0/tlp", "AMBER_STRICT")
	private := f.put(strict, "/asker", f.party("customs", "terminal", "private"))
	federation := f.amended("wide", "/from/kinds/terminal", true)
	d := under(private, federation)
	{x | some x in d[0].facets} == {"existence"}
}

# A record about a person goes to no private partner.
test_records_about_persons if {
	one("personal", true).effect == "permit"
	person := f.put(f.release, "/records/0/personal", true)
	private := f.put(person, "/asker", f.party("west", "terminal", "private"))
	federation := f.amended("wide", "/from/kinds/terminal", true)
	d := under(private, federation)
	f.codes(d[0]) == {"PERSON_RECORD"}
}

# Names pass from police to police, and nowhere else.
test_names_between_police if {
	between := f.put(f.put(f.release, "/asker", f.police), "/owner", f.party("p2", "police", "public"))
	d := decide(between)[0]
	d.effect == "permit"
	d.obligations.redact == ["unheard_of"]
}

# An active target is a no hit, and the owner's desk is told, whatever else is wrong with it.
test_active_target if {
	d := one("active_target", true)
	d.effect == "deny"
	d.obligations.notify == ["owner_desk"]
	both := f.put(f.put(f.release, "/records/0/active_target", true), "/asker/kind", "bank")
	decide(both)[0].obligations.notify == ["owner_desk"]
}

test_purpose_retention_event if {
	"RECORD_PURPOSE" in f.codes(one("purposes", ["other"]))
	"RECORD_EXPIRED" in f.codes(one("expires_at", 1000))
	"EVENT_NOT_ASKED" in f.codes(one("event", "unspecified"))
	"EVENT_NOT_ASKED" in f.codes(decide(f.put(f.release, "/query/events", ["scan"]))[0])
	decide(f.put(f.release, "/query/events", ["gate-in"]))[0].effect == "permit"
}

# Nothing granted, nothing released.
test_no_facets if {
	"NOTHING_TO_DISCLOSE" in f.codes(decide(f.put(f.release, "/facets", []))[0])
}

# A record leaves from where the agreement lets records come from, and from nowhere else.
test_record_country if {
	one("country", "BE").effect == "permit"
	"RECORD_COUNTRY" in f.codes(one("country", "GB"))
	"RECORD_COUNTRY" in f.codes(one("country", ""))
}

# A code the federation has not registered is none, whatever the kernel would make of it.
test_handling_codes_are_the_registrys if {
	every path, code in {
		"/handling/tlp/AMBER": "HANDLING_TLP", "/handling/pap/GREEN": "HANDLING_PAP",
		"/handling/europol/H0": "HANDLING_EUROPOL", "/handling/source_grade/A": "HANDLING_GRADE",
		"/handling/information_grade/1": "HANDLING_GRADE", "/handling/active_target": "ACTIVE_TARGET",
	} {
		d := under(f.release, f.drop(f.federation, path))
		f.codes(d[0]) == {code}
	}
}
