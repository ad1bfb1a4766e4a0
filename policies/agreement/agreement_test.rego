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

# What is left at the end is evidence of every side; what is not left says which side it lacks.
test_evidence if {
	good := agreement.pair(f.south, {"wide"}) with input as f.routing with data.federation as f.federation
	every _, ok in good {
		ok == true
	}
	far := object.union(f.south, {"country": "GB"})
	bad := agreement.pair(far, set()) with input as f.routing with data.federation as f.federation
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
	shortfall := agreement.shortfall(f.south, set()) with input as f.routing with data.federation as asker
	shortfall == "OPTED_OUT"
}

test_second_approvers if {
	two := f.amended("wide", "/second_approvers", 2)
	not agreed(1, two)
	agreed(2, two)
	not agreed(null, two)
	not agreed("9", two)
	agreed(0, f.federation)
}

agreed(approvals, federation) if {
	agreement.second_approvers_agreed({"wide"}) with input as {"approvals": approvals}
		with data.federation as federation
}

# Every check that fails because nothing covers has the same code, and none where something does.
test_particular if {
	none := agreement.particular(f.hauler, set()) with input as f.routing with data.federation as f.federation
	{code | some code in none} == {"BLIND_REQUIRED"}
	agreement.particular(f.south, {"wide"}) == {}
}
