// Package technology recognises well-known programs by what a container does:
// which programs run in it, with which words on their command line, where they
// listen, and what its image is called.
//
// All knowledge is data, in one table (table.go); [Table] shows it. [Recognise]
// promises that every answer says how sure it is and what it was seen by:
//
//   - certain: the program itself runs, or a launcher (java, beam.smp, python)
//     runs with a word that only this technology has;
//   - likely: a launcher listens at the technology's own port, or only the
//     process's title could be read, or the image has its name and nothing that
//     is seen speaks against it;
//   - possible: somebody unknown listens at its port.
//
// A client is not its server, also where both are one program or come in one
// image. A runtime (java, python, node) is named where nothing better explains the
// process. Words of command lines are compared and never told: they may hold
// secrets; [Telling] leaves those that the table has. Pure functions, for any number of goroutines; linear in the number of
// processes, listeners and words, which are bounded.
//
// Kernel needs: none.
package technology
