// Package receipts takes what providers say of messages after they had accepted them, and makes events of it.
//
// It alone knows which receipt is news: one that is forged, about nothing that is known, about a notification that is not known
// to be sent yet, or a repetition, is counted and changes nothing. How a provider signs and words its receipts is its gateway's
// business, what the notification went through the status store's.
//
// It keeps nothing and repeats nothing. What cannot be decided or published now is an error that makes the provider say it again;
// a receipt that is lost all the same leaves its notification sent, and the reconciler closes it.
package receipts
