package fairlead.statistics_test

import data.fairlead.fixtures as f
import data.fairlead.statistics

decide(document) := d if {
	d := statistics.decision with input as document with data.federation as f.federation
}

over(federation, document) := d if {
	d := statistics.decision with input as document with data.federation as federation
}

# The federation with one agreement on figures changed as an officer changes it: counted anew.
amended(id, path, value) := f.reworded_with("/statistics", agreed) if {
	agreed := f.put(f.registry.statistics, sprintf("/%s%s", [id, path]), value)
}

test_permits_figures_and_no_record if {
	d := decide(f.statistics)
	d.effect == "permit"
	d.facets == ["figures"]
	d.rules == ["reports-only"]
	d.obligations.max_records == 0
	d.reasons == []
	every _, ok in d.checks {
		ok == true
	}
}

# An agreement names its cubes: another one is not covered, known or not.
test_another_cube if {
	f.codes(decide(f.put(f.statistics, "/question/cube", "seizures"))) == {"FIGURES_NOT_AGREED"}
	unknown := decide(f.put(f.statistics, "/question/cube", "more"))
	f.codes(unknown) == {"CUBE_UNKNOWN", "FIGURES_NOT_AGREED"}
	f.codes(decide(f.put(f.statistics, "/question/cube", "all"))) == f.codes(unknown)
	f.codes(decide(f.put(f.statistics, "/question/cube", "*"))) == f.codes(unknown)
}

# A cube that agreements name and the registry of cubes does not have is none.
test_a_cube_that_is_gone if {
	gone := f.reworded("/cubes/reports")
	f.codes(over(gone, f.statistics)) == {"CUBE_UNKNOWN"}
}

test_each_fault_has_its_reason if {
	f.codes(decide(f.put(f.statistics, "/asker", f.hauler))) == {"FIGURES_NOT_AGREED"}
	f.codes(decide(f.put(f.statistics, "/question/purpose", "delicate"))) == {"FIGURES_PURPOSE"}
	f.codes(decide(f.put(f.statistics, "/user/roles", ["auditor"]))) == {"FIGURES_ROLE"}
	f.codes(decide(f.put(f.statistics, "/asker/country", "BE"))) == {"FIGURES_COUNTRY"}
	f.codes(decide(f.put(f.statistics, "/user/roles", ["trainee"]))) == {"USER_ROLE", "FIGURES_ROLE"}
	f.codes(decide(f.put(f.statistics, "/user/roles", []))) == {"USER_ROLE", "FIGURES_ROLE"}
	f.codes(decide(f.put(f.statistics, "/now", 499))) == {"FIGURES_NOT_AGREED"}
	f.codes(decide(f.put(f.statistics, "/now", 2000))) == {"FIGURES_NOT_AGREED"}
	"ASKER_UNKNOWN" in f.codes(decide(f.put(f.statistics, "/asker/sector", "public")))
	"JURISDICTION_UNKNOWN" in f.codes(decide(f.put(f.statistics, "/asker/country", "XX")))
	"PURPOSE_UNKNOWN" in f.codes(decide(f.put(f.statistics, "/question/purpose", "curiosity")))
}

# A role that may ask about a case need not be one for figures, and the other way round.
test_roles_of_figures_are_their_own if {
	trusted := amended("reports-only", "/roles/trainee", true)
	f.codes(over(trusted, f.put(f.statistics, "/user/roles", ["trainee"]))) == {"USER_ROLE"}
}

test_a_partner_by_name if {
	named := f.put(f.statistics, "/asker", object.union(f.north, {"kind": "forwarder"}))
	decide(named).effect == "permit"
}

# Any agreement that covers the question is enough, and all that do are named.
test_agreements_do_not_narrow_each_other if {
	both := amended("everything", "/from/kinds/terminal", true)
	d := over(both, f.statistics)
	d.effect == "permit"
	{rule | some rule in d.rules} == {"everything", "reports-only"}
}

# Data that lost a part permits nothing, as at every point.
test_lost_parts if {
	every path in [
		"/statistics", "/statistics/everything", "/statistics/everything/cubes/seizures",
		"/statistics/everything/roles", "/statistics/reports-only/countries/NL", "/cubes",
		"/cubes/seizures", "/figure_roles/auditor", "/statistics/reports-only/from/partners/north",
	] {
		d := over(f.drop(f.federation, path), f.statistics)
		d.effect == "deny"
		"POLICY_INCOMPLETE" in f.codes(d)
	}
	"POLICY_INCOMPLETE" in f.codes(over(
		f.put(f.federation, "/statistics/reports-only/cubes/seizures", true),
		f.statistics,
	))
}

test_an_input_that_is_none if {
	every document in [
		f.drop(f.statistics, "/question/level"), f.put(f.statistics, "/question/period", "2026"),
		f.put(f.statistics, "/question/level", ""), f.put(f.statistics, "/question/cube", ["reports"]),
		f.put(f.statistics, "/now", "1000"), f.put(f.statistics, "/now", null),
		f.put(f.statistics, "/user/roles", "analyst"), f.put(f.statistics, "/point", "admission"),
		f.put(f.statistics, "/query", f.query), f.drop(f.statistics, "/asker/schemes"),
	] {
		f.codes(decide(document)) == {"INPUT_INVALID"}
	}
}
