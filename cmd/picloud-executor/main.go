// Command picloud-executor is the sandboxed process in which functions run. The
// agent starts it; there is nothing to do with it by hand.
package main

import (
	"fmt"
	"os"

	"github.com/picloud/picloud/executor/worker"
)

// version is stamped by the linker: -X main.version=….
var version = "dev"

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "--version" || os.Args[1] == "-version") {
		fmt.Println("picloud-executor", version)
		return
	}
	os.Exit(worker.Main())
}
