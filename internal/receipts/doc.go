// Package receipts handles the delivery receipts of providers: reports about messages that a provider has accepted before. It
// publishes each new report as an event.
//
// Only this package knows which receipt is new. A receipt that is forged, that belongs to no known notification or to a
// notification that is not yet known to be sent, or that repeats an earlier one, is counted and changes nothing. A gateway
// knows how its provider signs and writes receipts; the status store knows the history of the notification.
//
// Failure policy: nothing is retried here. When a receipt cannot be decided or published now, the error makes the provider
// repeat the receipt. [Early] keeps a receipt that arrives before its attempt is known. If a receipt is lost all the same, its
// notification stays sent, and the reconciler closes it.
package receipts
