package fairlead.agreement_test

import data.fairlead.agreement
import data.fairlead.fixtures as f

covering(owner, federation) := ids if {
	ids := agreement.covering(owner) with input as f.routing with data.federation as federation
}

test_covering if {
	covering(f.south, f.federation) == {"wide"}
	covering(f.north, f.federation) == {"wide", "named"}
	covering(f.customs, f.federation) == set()
}

about(owner, federation) := facts if {
	facts := agreement.about(owner) with input as f.routing with data.federation as federation
}

# What is left at the end is evidence of every side; what is not left says which side it lacks.
test_evidence if {
	good := agreement.checks({"more": true}, about(f.south, f.federation))
	count(good) == 10
	every _, ok in good {
		ok == true
	}
	bad := agreement.checks({}, about(object.union(f.south, {"country": "GB"}), f.federation))
	bad.country_covered == false
	bad.agreement_covers == false
	bad.partner_located == true
}

# A partner that opted out is neither asked under the agreement nor asks under it.
test_opting_out if {
	out := f.amended("wide", "/opted_out/south", true)
	covering(f.south, out) == set()
	"wide" in covering(f.north, out)
	asker := f.amended("wide", "/opted_out/customs", true)
	covering(f.south, asker) == set()
	about(f.south, asker).lacks == "OPTED_OUT"
}

# Every check that fails because nothing covers has the same code, and none where something does.
test_particular if {
	none := agreement.particular(about(f.hauler, f.federation))
	{code | some code in none} == {"BLIND_REQUIRED"}
	agreement.particular(about(f.south, f.federation)) == {}
}
