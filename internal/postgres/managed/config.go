package managed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/picloud/picloud/internal/datadir"
)

// maxRunDir is how long the socket's folder may be: the socket's path has to
// fit into 104 bytes on every system.
const maxRunDir = 88

// defaultRunDir returns the folder of the socket: in the data folder, so that
// one goes with the other, or in /tmp when that is too long. It does not depend on TMPDIR:
// the agent that adopts a running server may have another one than the agent that
// started it.
func defaultRunDir(data string) string {
	dir := filepath.Join(data, "postgres-run")
	if len(dir) <= maxRunDir {
		return dir
	}
	return datadir.Temporary(dir, os.Geteuid())
}

// makeRunDir makes the folder of the socket. Only the server's account may use it,
// and root. It checks the owner, because in the temp folder another user could have
// made the folder before.
func (s *Server) makeRunDir() error {
	if err := os.MkdirAll(filepath.Dir(s.run), 0o711); err != nil { //nolint:gosec // the server's account passes through
		return diskError("make run folder", s.run, err)
	}
	if err := os.Mkdir(s.run, 0o700); err == nil {
		err = s.account.own(s.run)
		if err != nil {
			return diskError("make run folder", s.run, err)
		}
	} else if !os.IsExist(err) {
		return diskError("make run folder", s.run, err)
	}
	info, err := os.Lstat(s.run)
	if err != nil {
		return diskError("make run folder", s.run, err)
	}
	if !info.IsDir() {
		return diskError("make run folder", s.run, errors.New("it is not a folder"))
	}
	if o := owner(info); o == os.Geteuid() && s.account.other() {
		if err := s.account.own(s.run); err != nil {
			return diskError("make run folder", s.run, err)
		}
	} else if o != s.account.uid {
		return diskError("make run folder", s.run, fmt.Errorf("it belongs to uid %d, not to %s", o, s.account.name))
	}
	if info.Mode().Perm() != 0o700 {
		if err := os.Chmod(s.run, 0o700); err != nil { //nolint:gosec // a folder
			return diskError("make run folder", s.run, err)
		}
	}
	return s.account.reach(s.bin.postgres(), s.run)
}

// settings are tuned for a small board that mostly idles: little memory, no
// background process that wakes up without work, few writes to the card.
const settings = `# Written by PiCloud at every start; changes are lost. Use ALTER SYSTEM instead.
listen_addresses = ''
port = %[1]s
unix_socket_directories = %[2]s
unix_socket_permissions = 0700
cluster_name = 'picloud'
update_process_title = off

max_connections = %[3]d
shared_buffers = 32MB
work_mem = 4MB
maintenance_work_mem = 16MB
huge_pages = off
# Not /dev/shm, which systemd clears when a normal user logs out and which
# containers keep tiny. Hardly anything is in it without parallel queries.
dynamic_shared_memory_type = mmap
jit = off
max_worker_processes = 2
max_parallel_workers = 0
max_parallel_workers_per_gather = 0
max_logical_replication_workers = 0

wal_level = replica
max_wal_senders = 4
wal_compression = on
min_wal_size = 32MB
max_wal_size = 256MB
checkpoint_timeout = 30min
fsync = %[4]s
full_page_writes = %[4]s
synchronous_commit = on

bgwriter_delay = 10s
bgwriter_lru_maxpages = 0
wal_writer_delay = 10s
autovacuum_naptime = 10min
autovacuum_max_workers = 1

timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%%m [%%p] '
log_checkpoints = off
# Statements stay out of the log: they carry what users stored.
log_statement = 'none'
log_min_error_statement = panic
log_parameter_max_length_on_error = 0
`

// access says who may log in. Only the server's account and root reach the socket, and both
// may log in as the owner; so the roles of nodes, which have fewer rights, ask for nothing.
// The relay gives each node its own.
const access = `# Written by PiCloud. The only way in: the socket, whose folder is closed to all others.
# The owner, as an account that pg_ident.conf names:
local all %[1]s peer map=picloud
# The roles of nodes, through the relay, which knows each node by its certificate:
local %[2]s all trust
`

// configure writes the server's configuration into a data folder.
func (s *Server) configure(dir string) error {
	durable := "on"
	if s.o.NoSync {
		durable = "off"
	}
	files := map[string]string{
		"postgresql.conf": fmt.Sprintf(settings, port, quote(listItem(s.run)), s.o.MaxConnections, durable),
		"pg_hba.conf":     fmt.Sprintf(access, role, database),
		"pg_ident.conf":   s.idents(),
	}
	for name, text := range files {
		if err := s.place(filepath.Join(dir, name), text); err != nil {
			return diskError("write configuration", filepath.Join(dir, name), err)
		}
	}
	return nil
}

// idents lets us in, and the server's own account for the administrator.
func (s *Server) idents() string {
	text := fmt.Sprintf("# Written by PiCloud.\npicloud %q %s\n", s.account.agent, role)
	if s.account.name != s.account.agent {
		text += fmt.Sprintf("picloud %q %s\n", s.account.name, role)
	}
	return text
}

// place replaces a file as a whole when its text differs. When the agent is root,
// the folder belongs to an account without privileges, which is not trusted. So
// place never opens an existing file there for writing.
func (s *Server) place(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), "picloud-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // nothing is left of it once it was renamed
	if _, err = file.WriteString(text); err == nil && s.account.other() {
		err = file.Chown(s.account.uid, s.account.gid)
	}
	if err == nil && !s.o.NoSync {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// quote makes a value of postgresql.conf. A backslash begins an escape there.
func quote(s string) string {
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(s) + "'"
}

// listItem makes the one item of a value that PostgreSQL takes for a list of folders.
func listItem(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
