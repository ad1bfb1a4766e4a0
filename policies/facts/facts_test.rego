package fairlead.facts_test

import data.fairlead.admission
import data.fairlead.asking
import data.fairlead.fixtures as f
import data.fairlead.release
import data.fairlead.routing
import data.fairlead.sovereignty

points := {"asking", "admission", "routing", "sovereignty"}

# One point's input is refused by every other point.
test_points_are_told_apart if {
	permitted := {[decider, point] |
		some point in points
		some decider, decision in decisions(data.fairlead.fixtures[point])
		decision.effect == "permit"
	}
	permitted == {[point, point] | some point in points}
}

decisions(document) := {
	"asking": asked(document),
	"admission": admitted(document),
	"routing": routed(document),
	"sovereignty": owned(document),
}

asked(document) := d if {
	d := asking.decision with input as document with data.federation as f.federation
}

admitted(document) := d if {
	d := admission.decision with input as document with data.federation as f.federation
}

routed(document) := d if {
	d := routing.decision with input as document with data.federation as f.federation
}

owned(document) := d if {
	d := sovereignty.decision with input as document with data.federation as f.federation
}

# Any field more, wherever it stands, and the input is none.
test_unknown_fields if {
	every path in ["/extra", "/query/extra", "/asker/extra", "/owner/extra", "/grant/extra"] {
		d := sovereignty.decision with input as f.put(f.sovereignty, path, 1)
			with data.federation as f.federation
		f.codes(d) == {"INPUT_INVALID"}
	}
}

# Another schema, or none, is not understood.
test_schema if {
	every value in [0, 1, "2", null] {
		d := routing.decision with input as f.put(f.routing, "/schema", value)
			with data.federation as f.federation
		f.codes(d) == {"INPUT_INVALID"}
	}
}

# One bad record spoils the batch: it says that whoever built the input cannot be trusted.
test_bad_record if {
	d := release.decision with input as f.put(f.release, "/records/-", {})
		with data.federation as f.federation
	count(d.records) == 2
	every name in d.records {
		f.codes(d.decisions[name]) == {"INPUT_INVALID"}
	}
}
