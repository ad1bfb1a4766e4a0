# Does the case carry the legal instrument that an agreement demands? A node vouches for kind,
# authority and validity; the reference stays with it.
package fairlead.instrument

presented(agreement) if is_null(agreement.instrument)

presented(agreement) if {
	agreement.instrument.kinds[input.query.instrument.kind] == true
	agreement.instrument.authorities[input.query.instrument.authority] == true
	issued
	input.now < input.query.instrument.valid_until
}

# An authority issues the instruments that the registry says it can issue.
issued if data.federation.instruments[input.query.instrument.kind][input.query.instrument.authority] == true

# What the requester lacks, where every agreement left demands one.
shortfall := "INSTRUMENT_REQUIRED" if {
	is_null(input.query.instrument)
} else := "INSTRUMENT_EXPIRED" if {
	input.now >= input.query.instrument.valid_until
} else := "INSTRUMENT_NOT_ACCEPTED"
