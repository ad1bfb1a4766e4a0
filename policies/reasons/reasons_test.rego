package fairlead.reasons_test

import data.fairlead.reasons

# Every code a check can give is explained, once.
test_every_code_is_explained if {
	explained := [reason.code | some reason in reasons.catalogue]
	count(explained) == count({code | some code in explained})
	every _, code in reasons.of_check {
		code in explained
	}
}
