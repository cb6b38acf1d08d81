package datadir

import (
	"os"
	"path/filepath"
)

// Service is the data folder of a node that runs as root, as under systemd.
const Service = "/var/lib/picloud"

// Default is where a node keeps its data when nothing else is set.
func Default(getenv func(string) string) string {
	if os.Geteuid() == 0 {
		return Service
	}
	if dir := User(getenv); dir != "" {
		return dir
	}
	return "picloud-data"
}

// User is the data folder of a node that a user starts by hand. It is empty when
// the environment names neither XDG_DATA_HOME nor HOME.
func User(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "picloud")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "picloud")
	}
	return ""
}
