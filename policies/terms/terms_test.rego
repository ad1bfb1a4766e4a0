package fairlead.terms_test

import data.fairlead.fixtures as f
import data.fairlead.terms

of(ids) := t if {
	t := terms.of(ids, false) with input as f.routing with data.federation as f.federation
}

test_one_agreement if {
	t := of({"wide"})
	t.facets == ["contact_desk", "existence", "full_record"]
	t.obligations.onward == "same-sector"
	t.rules == ["wide"]
}

# The narrowest of each term, whichever agreement says it.
test_two_agreements if {
	t := of({"wide", "named"})
	{x | some x in t.facets} == {"existence", "field:plate", "field:driver"}
	t.obligations.max_records == 7
	t.obligations.notice_delay_s == 9
	t.obligations.onward == "with-consent"
	{x | some x in t.obligations.redact} == {"seal", "driver"}
}

test_none if {
	of(set()) == {}
}

test_the_strictest_word_holds if {
	strict := f.amended("named", "/onward", "none")
	t := terms.of({"wide", "named"}, false) with input as f.routing with data.federation as strict
	t.obligations.onward == "none"
	unheard := f.amended("named", "/onward", "anybody")
	u := terms.of({"wide", "named"}, false) with input as f.routing with data.federation as unheard
	u.obligations.onward == "none"
}

test_most_second_approvers_hold if {
	two := f.amended("named", "/second_approvers", 2)
	terms.second_approvers({"wide", "named"}) == 2 with data.federation as two
}

# A record has to come from where every agreement lets it come from.
test_record_countries if {
	one := f.drop(f.federation, "/agreements/named/record_countries/BE")
	terms.record_countries({"wide"}) == {"NL", "BE"} with data.federation as one
	terms.record_countries({"wide", "named"}) == {"NL"} with data.federation as one
	terms.record_countries(set()) == set() with data.federation as one
}

# A field of which nobody says that it is not personal counts as one.
test_names if {
	"driver" in of({"wide"}).obligations.redact
	unsaid := f.drop(f.federation, "/fields/plate/personal")
	t := terms.of({"wide"}, false) with input as f.routing with data.federation as unsaid
	"plate" in t.obligations.redact
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
	terms.second_approvers_agreed(terms.of({"wide"}, false)) with input as {"approvals": approvals}
		with data.federation as federation
}
