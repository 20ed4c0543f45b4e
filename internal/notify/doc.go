// Package notify holds the words that every part of Laudspeaker shares: the notification, its payloads, the states of
// its life, the events that tell them, the verdicts of gateways and the header names on the bus.
//
// It alone knows how those words are spelt on the wire. It decides nothing, does no I/O and imports only the standard
// library, so that every other package may import it.
package notify
