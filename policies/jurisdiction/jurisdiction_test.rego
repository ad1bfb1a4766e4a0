package fairlead.jurisdiction_test

import data.fairlead.fixtures as f
import data.fairlead.jurisdiction
import data.fairlead.routing

british := f.put(f.put(f.routing, "/asker", f.police), "/asker/country", "GB")

decide(document, federation) := d if {
	d := routing.decision with input as document with data.federation as federation
}

between_police(document) := f.put(document, "/candidates/force", f.party("force", "police", "public"))

# A country is known when the registry says whether it is in the EU.
test_known if {
	jurisdiction.known({"country": "NL"}) with data.federation as f.federation
	jurisdiction.known({"country": "GB"}) with data.federation as f.federation
	not jurisdiction.known({"country": "XX"}) with data.federation as f.federation
	not jurisdiction.known({}) with data.federation as f.federation
}

test_an_unregistered_country_asks_nobody if {
	d := decide(f.put(f.routing, "/asker/country", "XX"), f.federation)
	f.codes(f.each(d).south) == {"JURISDICTION_UNKNOWN", "COUNTRY_NOT_COVERED"}
}

test_an_unregistered_country_is_not_asked if {
	d := decide(f.put(f.routing, "/candidates/south/country", "XX"), f.federation)
	f.codes(f.each(d).south) == {"PARTNER_JURISDICTION_UNKNOWN", "COUNTRY_NOT_COVERED"}
	f.each(d).north.effect == "permit"
}

# A country outside the EU is asked for by name, and then on a ground that holds there.
test_outside_the_eu if {
	document := between_police(british)
	f.codes(f.each(decide(document, f.federation)).force) == {"COUNTRY_NOT_COVERED"}
	named := f.amended("force", "/asker_countries/GB", true)
	f.codes(f.each(decide(document, named)).force) == {"TRANSFER_GROUND_MISSING"}
	other := f.amended_twice("force", "/asker_countries/GB", true, "/transfer_ground", "friendship")
	f.codes(f.each(decide(document, other)).force) == {"TRANSFER_GROUND_MISSING"}
	grounded := f.amended_twice("force", "/asker_countries/GB", true, "/transfer_ground", "adequacy")
	f.each(decide(document, grounded)).force.effect == "permit"
}

# The question itself is a transfer to the owner.
test_an_owner_outside_the_eu if {
	document := f.put(between_police(f.put(f.routing, "/asker", f.police)), "/candidates/force/country", "GB")
	named := f.amended("force", "/owner_countries/GB", true)
	f.codes(f.each(decide(document, named)).force) == {"TRANSFER_GROUND_MISSING"}
	grounded := f.amended_twice("force", "/owner_countries/GB", true, "/transfer_ground", "adequacy")
	f.each(decide(document, grounded)).force.effect == "permit"
}
