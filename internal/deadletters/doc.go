// Package deadletters finds dead letters and has them sent again: for the command line, which looks at all of them, and for
// the API, which looks at so many a request and gives a cursor.
//
// It alone knows how letters are walked through, which of them are left alone, and that a letter is said to be redriven only
// once its job is acknowledged. What became of a letter's notification since it died it asks [Fates].
//
// Nothing is lost or sent twice when it is cut off: a letter stays where it is, the run of its job follows from the letter
// alone, and whoever repeats the request publishes what workers drop. What Kafka or the status store do not answer ends the
// request with their error.
package deadletters
