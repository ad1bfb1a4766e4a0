package fairlead.instrument_test

import data.fairlead.fixtures as f
import data.fairlead.routing

demanding := f.amended("wide", "/instrument", {"kinds": {"order": true}, "authorities": {"court": true}})

good := {"kind": "order", "authority": "court", "valid_until": 1001}

carrying(instrument) := f.each(d).south if {
	d := routing.decision with input as f.put(f.routing, "/query/instrument", instrument)
		with data.federation as demanding
}

test_a_valid_instrument_is_accepted if {
	carrying(good).effect == "permit"
}

test_none_is_told_apart_from_a_wrong_one if {
	f.codes(carrying(null)) == {"INSTRUMENT_REQUIRED"}
	f.codes(carrying(object.union(good, {"valid_until": 1000}))) == {"INSTRUMENT_EXPIRED"}
	f.codes(carrying(object.union(good, {"kind": "request"}))) == {"INSTRUMENT_NOT_ACCEPTED"}
	f.codes(carrying(object.union(good, {"authority": "authority"}))) == {"INSTRUMENT_NOT_ACCEPTED"}
	f.codes(carrying(object.remove(good, {"valid_until"}))) == {"INPUT_INVALID"}
}

# An agreement that accepts what the registry says nobody issues accepts nothing.
test_an_authority_issues_what_the_registry_says if {
	careless := f.amended("wide", "/instrument", {"kinds": {"order": true}, "authorities": {"authority": true}})
	document := f.put(f.routing, "/query/instrument", object.union(good, {"authority": "authority"}))
	d := routing.decision with input as document with data.federation as careless
	f.codes(f.each(d).south) == {"INSTRUMENT_NOT_ACCEPTED"}
}

# An instrument where none is demanded changes nothing.
test_an_instrument_that_nobody_demands if {
	d := routing.decision with input as f.put(f.routing, "/query/instrument", good)
		with data.federation as f.federation
	f.each(d).south.effect == "permit"
}

# Blind is suggested only where the instrument is not what is missing.
test_an_instrument_comes_before_the_mode if {
	hidden := f.amended("hidden", "/instrument", {"kinds": {"order": true}, "authorities": {"court": true}})
	d := routing.decision with input as f.routing with data.federation as hidden
	f.codes(f.each(d).hauler) == {"INSTRUMENT_REQUIRED"}
}
