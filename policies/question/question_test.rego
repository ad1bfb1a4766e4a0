package fairlead.question_test

import data.fairlead.fixtures as f
import data.fairlead.question

evidence(path, value) := {name |
	some name, ok in question.evidence with input as f.put(f.routing, path, value)
		with data.federation as f.federation
	ok == false
}

test_good if {
	evidence("/now", 1000) == set()
}

test_each_side if {
	evidence("/asker/kind", "bank") == {"asker_known", "legal_basis_fits"}
	evidence("/asker/sector", "private") == {"asker_known"}
	evidence("/asker/country", "XX") == {"asker_located"}
	evidence("/query/purpose", "curiosity") == {"purpose_known", "legal_basis_fits"}
	evidence("/query/legal_basis", "other") == {"legal_basis_fits"}
	evidence("/query/schemes", []) == {"query_bounded"}
	evidence("/query/term_count", 101) == {"query_bounded"}
}

needed(term_count) := n if {
	n := question.approvals_needed with input as f.put(f.routing, "/query/term_count", term_count)
		with data.federation as f.federation
}

test_large_batches_need_a_second_person if {
	needed(50) == 0
	needed(51) == 1
}
