// Package target finds out which node a command speaks to, and as whom: from
// flags, the environment, and the credentials files of this machine.
package target
