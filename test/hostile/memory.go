//go:build linux && (amd64 || arm64)

package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A worker of the suite has 32 MiB, to which the sandbox adds 64.
const (
	tooMuch = 112 << 20
	reserve = 16 << 30 // of addresses; to read one byte of each 2 MiB costs 32 MiB of page tables
	page    = 4096
)

const (
	rw        = unix.PROT_READ | unix.PROT_WRITE
	anonymous = unix.MAP_PRIVATE | unix.MAP_ANON
)

var memory = []attempt{
	{name: "memory-heap", try: heap, once: true},
	{name: "memory-map", try: func(world) error { return mapped(tooMuch, rw, anonymous) }, once: true},
	{name: "memory-stack", try: func(world) error { return mapped(tooMuch, rw, anonymous|unix.MAP_GROWSDOWN) }, once: true},
	{name: "memory-unreserved", try: func(world) error { return mapped(tooMuch, rw, anonymous|unix.MAP_NORESERVE) }, once: true},
	{name: "memory-droppable", try: func(world) error { return mapped(tooMuch, rw, unix.MAP_DROPPABLE|unix.MAP_ANON) }, once: true},
	{name: "memory-shared", try: func(world) error { return mapped(tooMuch, rw, unix.MAP_SHARED|unix.MAP_ANON) }, once: true},
	{name: "memory-shared-page", try: func(world) error { return mapped(page, rw, unix.MAP_SHARED|unix.MAP_ANON) }},
	{name: "memory-locked", try: func(world) error { return mapped(page, rw, anonymous|unix.MAP_LOCKED) }},
	{name: "memory-huge", try: func(world) error { return mapped(2<<20, rw, anonymous|unix.MAP_HUGETLB) }},
	{name: "memory-break", try: breakUp, once: true},
	{name: "memory-protect", try: protectLater, once: true},
	{name: "memory-remap", try: remap, once: true},
	{name: "memory-page-tables", try: pageTables, once: true},
	{name: "memory-spread-maps", try: spreadMaps, once: true},
	{name: "memory-system-v", try: func(world) error {
		id, err := sys(unix.SYS_SHMGET, 0, page, unix.IPC_CREAT|0o600)
		if err == nil {
			_, err = sys(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0)
		}
		return err
	}},
	{name: "semaphore-system-v", try: func(world) error {
		id, err := sys(unix.SYS_SEMGET, 0, 1, unix.IPC_CREAT|0o600)
		if err == nil {
			_, err = sys(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID, 0)
		}
		return err
	}},
	{name: "queue-system-v", try: func(world) error {
		id, err := sys(unix.SYS_MSGGET, 0, unix.IPC_CREAT|0o600)
		if err == nil {
			_, err = sys(unix.SYS_MSGCTL, id, unix.IPC_RMID, 0)
		}
		return err
	}},
	{name: "memory-file", try: func(world) error { return descriptor(sys(unix.SYS_MEMFD_CREATE, text("memory"), unix.MFD_CLOEXEC)) }},
	{name: "memory-secret", try: opening(unix.SYS_MEMFD_SECRET, 0)},
	{name: "memory-lock", try: func(world) error { _, err := sys(unix.SYS_MLOCK, zeros(page), page); return err }},
	{name: "memory-lock-all", try: call(unix.SYS_MLOCKALL, unix.MCL_FUTURE|unix.MCL_ONFAULT), once: true},
	{name: "memory-keys", try: call(unix.SYS_PKEY_ALLOC, 0, 0), once: true},
	{name: "memory-nodes", try: call(unix.SYS_SET_MEMPOLICY, 0, 0, 0)},
	{name: "memory-merge", try: advise(unix.MADV_MERGEABLE)},
	{name: "memory-faults", try: func(world) error { return descriptor(sys(unix.SYS_USERFAULTFD, 1|unix.O_CLOEXEC)) }},
	{name: "code-map", try: func(world) error { return mapped(page, unix.PROT_READ|unix.PROT_EXEC, anonymous) }},
	{name: "code-map-writable", try: func(world) error { return mapped(page, rw|unix.PROT_EXEC, anonymous) }},
	{name: "code-protect", try: protectCode(unix.PROT_READ | unix.PROT_EXEC)},
	{name: "code-protect-writable", try: protectCode(rw | unix.PROT_EXEC)},
	{name: "code-protect-key", try: func(world) error {
		at, err := sys(unix.SYS_MMAP, 0, page, rw, anonymous, minusOne, 0)
		if err == nil {
			_, err = sys(unix.SYS_PKEY_MPROTECT, at, page, unix.PROT_READ|unix.PROT_EXEC, minusOne)
		}
		return err
	}},
	{name: "code-by-reading", try: call(unix.SYS_PERSONALITY, 0x0400000), once: true}, // READ_IMPLIES_EXEC
}

func heap(world) error {
	held := make([][]byte, tooMuch>>20)
	for i := range held {
		held[i] = make([]byte, 1<<20)
		touch(uintptr(unsafe.Pointer(&held[i][0])), 1<<20)
	}
	runtime.KeepAlive(held)
	return nil
}

// touch writes to every page.
func touch(at, size uintptr) {
	for i := uintptr(0); i < size; i += page {
		poke(at + i)
	}
}

// mapped maps memory, uses all of it, and gives it back.
func mapped(size, protection, flags uintptr) error {
	at, err := sys(unix.SYS_MMAP, 0, size, protection, flags, minusOne, 0)
	if err != nil {
		return err
	}
	if protection&unix.PROT_WRITE != 0 {
		touch(at, size)
	}
	_, err = sys(unix.SYS_MUNMAP, at, size)
	return err
}

func breakUp(world) error {
	start, err := sys(unix.SYS_BRK, 0)
	if err != nil {
		return err
	}
	end, err := sys(unix.SYS_BRK, start+tooMuch)
	if err != nil {
		return err
	}
	if end != start+tooMuch {
		return unix.ENOMEM // as the C library has it
	}
	touch(start, tooMuch)
	_, err = sys(unix.SYS_BRK, start)
	return err
}

// protectLater maps memory that does not count, and then makes it count.
func protectLater(world) error {
	at, err := sys(unix.SYS_MMAP, 0, tooMuch, unix.PROT_NONE, anonymous, minusOne, 0)
	if err != nil {
		return err
	}
	defer func() { _, _ = sys(unix.SYS_MUNMAP, at, tooMuch) }()
	if _, err := sys(unix.SYS_MPROTECT, at, tooMuch, rw); err != nil {
		return err
	}
	touch(at, tooMuch)
	return nil
}

func remap(world) error {
	at, err := sys(unix.SYS_MMAP, 0, page, rw, anonymous, minusOne, 0)
	if err != nil {
		return err
	}
	at, err = sys(unix.SYS_MREMAP, at, page, tooMuch, unix.MREMAP_MAYMOVE)
	if err != nil {
		return err
	}
	touch(at, tooMuch)
	_, err = sys(unix.SYS_MUNMAP, at, tooMuch)
	return err
}

// pageTables uses none of the memory that it maps, but the kernel must know
// where each page of it would be.
func pageTables(world) error {
	at, err := sys(unix.SYS_MMAP, 0, reserve, unix.PROT_READ, anonymous, minusOne, 0)
	if err != nil {
		return err
	}
	_, _ = sys(unix.SYS_MADVISE, at, reserve, unix.MADV_NOHUGEPAGE)
	for i := uintptr(0); i < reserve; i += 2 << 20 {
		peek(at + i)
	}
	_, err = sys(unix.SYS_MUNMAP, at, reserve)
	return err
}

// spreadMaps maps single pages so far from each other that each needs page tables
// of its own.
func spreadMaps(world) error {
	for i := range uintptr(4_000) {
		at, err := sys(unix.SYS_MMAP, (i+1024)<<30, page, rw, anonymous, minusOne, 0)
		if err != nil {
			return err
		}
		peek(at)
	}
	return nil
}

func advise(what uintptr) func(world) error {
	return func(world) error {
		at, err := sys(unix.SYS_MMAP, 0, page, rw, anonymous, minusOne, 0)
		if err != nil {
			return err
		}
		defer func() { _, _ = sys(unix.SYS_MUNMAP, at, page) }()
		_, err = sys(unix.SYS_MADVISE, at, page, what)
		return err
	}
}

func protectCode(protection uintptr) func(world) error {
	return func(world) error {
		at, err := sys(unix.SYS_MMAP, 0, page, rw, anonymous, minusOne, 0)
		if err != nil {
			return err
		}
		defer func() { _, _ = sys(unix.SYS_MUNMAP, at, page) }()
		_, err = sys(unix.SYS_MPROTECT, at, page, protection)
		return err
	}
}
