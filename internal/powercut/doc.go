// Package powercut is for tests: it records what a program does to the files of a folder,
// and builds the folder as a loss of power could have left it.
//
// The record is of the real program: another process watches its system calls (ptrace) and
// writes down each write, truncation, creation, rename, link, removal and fsync below the
// folder, with its data, in the order in which they ended. So it knows no library, and also
// sees what a library writes.
//
// What is simulated is the disk, by the rules of POSIX (or, where a library counts on them,
// by those that the file systems of Linux share) and not by those of one file system:
//
//   - what was written to a file is lost up to its last fsync, in whole, in part, or out of
//     order, torn between sectors of 512 bytes, and a file may have grown without its content;
//   - a name that was made, renamed, linked or removed is as it was at some moment since the
//     last fsync of its folder; the folders do not agree on the moment;
//   - what was synced stays.
//
// What is not simulated: a drive that lies about fsync, sectors that go bad, file modes, and
// writes through a shared memory map, which make Record fail.
package powercut
