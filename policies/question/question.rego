# What must hold of a question whoever is asked: who asks and from where, for which purpose, on
# which legal basis, and how much.
package fairlead.question

import data.fairlead.integrity
import data.fairlead.jurisdiction

# The evidence that every point needs, beside that its input is one.
evidence := {
	"policy_whole": integrity.policy_whole,
	"asker_known": asker_known,
	"asker_located": asker_located,
	"purpose_known": purpose_known,
	"legal_basis_fits": legal_basis_fits,
	"query_bounded": query_bounded,
}

# Organisation attributes come from the directory; a kind that does not belong to its sector
# is no organisation of this federation.
default asker_known := false

asker_known if known(input.asker)

known(party) if data.federation.kinds[party.kind] == party.sector

# A country that the registry does not have is under no law that the federation knows.
default asker_located := false

asker_located if jurisdiction.known(input.asker)

default purpose_known := false

purpose_known if is_object(data.federation.purposes[input.query.purpose])

# The purpose admits the legal basis, and the legal basis admits this kind of organisation.
default legal_basis_fits := false

legal_basis_fits if {
	data.federation.purposes[input.query.purpose].legal_bases[input.query.legal_basis] == true
	data.federation.legal_bases[input.query.legal_basis].kinds[input.asker.kind] == true
}

default query_bounded := false

query_bounded if {
	input.query.term_count >= 1
	input.query.term_count <= data.federation.limits.max_terms
	count(input.query.schemes) > 0
	every scheme in input.query.schemes {
		data.federation.schemes[scheme] == true
	}
}

# Some role of the user may ask at all; an agreement may demand one in particular.
default user_permitted := false

user_permitted if {
	some role in input.user.roles
	data.federation.roles[role] == true
}

# How many other people at the asker must agree: the purpose's own number, and one for a large
# batch. (What the owner's people must approve is a term of the agreement.)
approvals_needed := max([data.federation.purposes[input.query.purpose].approvals, for_size])

default for_size := 1

for_size := 0 if input.query.term_count <= data.federation.limits.second_person_above_terms
