// Package vm runs the bytecode of Risor v2.
//
// Risor's parser, compiler and objects are used as they are. Its own virtual
// machine is not, because what it does wrong cannot be mended from outside
// (measured with v2.2.0, see docs/adr/0001-risor-v2.md):
//
//   - a return out of try leaves its handler behind: the ninth panics, and an
//     older one catches errors that it should not;
//   - an error caught in the middle of an expression leaves operands behind, so
//     the expression computes something else;
//   - a function two levels inside another reads its variables from whoever
//     called, not from where it was written;
//   - each run copies the program, converts every global and, when it can be
//     cancelled, starts a goroutine; the step limit can be caught by a script.
//
// Here a [Program] is loaded once and shared, a [Machine] is memory that is
// cleared between runs, deadline and cancellation cannot be caught, and every
// error knows where it came from.
//
// # Limits
//
// 1,024 nested calls and 65,536 values on the stack; beyond, the script gets an
// error. Neither memory nor the time inside a native function is bounded here:
// the process is the boundary.
package vm
