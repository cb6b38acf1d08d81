package machine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHardware(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("proc/sys/kernel/random/boot_id", "boot-1\n")
	write("sys/class/net/docker0/address", "02:42:00:00:00:01\n")
	require.Equal(t, "boot-1", hardware(root), "bridges have addresses that change")
	write("sys/class/net/eth0/address", "dc:a6:32:00:00:01\n")
	write("sys/class/net/eth0/device/vendor", "")
	require.Equal(t, "dc:a6:32:00:00:01", hardware(root))
	write("sys/firmware/devicetree/base/serial-number", "10000000abcd\x00")
	require.Equal(t, "10000000abcd dc:a6:32:00:00:01", hardware(root))
	first := Hardware()
	require.Equal(t, first, Hardware())
	require.NotEmpty(t, Hardware())
}
