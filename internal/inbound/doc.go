// Package inbound takes the texts that people send to our senders: opt-outs, what takes them back, and everything else.
//
// It alone knows the words that are an opt-out, and for which tenants one counts. How a provider signs and brings a text is its
// gateway's business. A text is taken once, by its provider's name: STOP and START change suppressions, and every text becomes an
// event, since applications may wait for a YES or a STOP of their own.
//
// It keeps nothing itself and repeats nothing. What cannot be decided or published now is an error that makes the provider bring
// the text again; then what was published already is published once more, which changes nothing. A text is remembered as taken
// only after everything else is durable.
package inbound
