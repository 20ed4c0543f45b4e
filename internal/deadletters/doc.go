// Package deadletters finds dead letters and redrives them, that is, sends them again. The command line looks at all letters;
// the API looks at a bounded number of letters in a request and returns a cursor.
//
// Only this package knows in which order letters are read, which letters are not redriven, and that the event of a redrive is
// published only after its job has been acknowledged. It asks a [SkipChecker] what became of a letter's notification after the
// letter was written.
//
// Failure policy: an interruption loses nothing and sends nothing twice. A letter stays on its topic, and the run of its job
// follows from the letter alone: when a request is repeated, it publishes jobs that workers drop as duplicates. When Kafka or
// the status store does not answer, the request ends with their error.
package deadletters
