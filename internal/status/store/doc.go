// Package store keeps the lives of notifications in SQL: in a SQLite file, or in PostgreSQL.
//
// It alone knows the tables and how a batch of changes is folded into them. A row of notifications has two groups of
// columns. The first says what was accepted: it is that of the earliest job, and of the earliest event while no job has been
// read. The second says what became of it: it is that of the event with the highest [status.Place]. Both are decided by
// comparing keys, so that changes may come in any order, in any batches and any number of times.
//
// Everything that writes locks the one row of the table lease first. Writers therefore follow one another, the numbers of
// events become visible in their order, and a process that no longer holds the lease cannot write late. A batch goes with
// its positions in one transaction, whole or not at all.
//
// What comes from the topics is bounded and made fit for both databases here (text without NUL, words of an index no longer
// than its entries may be), because a batch that a database refuses for ever would stop the recorder for ever.
//
// A database that is away, full or locked is an error that wraps [notify.ErrStatusUnavailable]; nothing is tried again here.
//
// Files beside this one may add queries: the text of nearly all is the same for both databases, with $1, $2 … for arguments
// and [dialect] for the rest.
package store
