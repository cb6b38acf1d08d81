package executor

import "slices"

// maxPrograms is how many programs a worker holds at once.
const maxPrograms = 256

// slots assigns programs to places in the program tables of an app's workers: a
// program has the same slot in each worker. When all slots are in use, the program
// that was idle the longest loses its slot (least recently used). Workers load a
// program with its first call. A stale slot is harmless, because a worker compares
// the program too. The pool's mu guards the fields.
type slots struct {
	held []*Function // by slot; nil: free
}

// assign gives f a slot. It reports false when every slot belongs to a program with
// calls under way.
func (s *slots) assign(f *Function, workers []*worker) (uint32, bool) {
	if slot := f.slot.Load(); slot != noSlot {
		return uint32(slot), true
	}
	slot := slices.Index(s.held, nil)
	if slot < 0 && len(s.held) < maxPrograms {
		slot = len(s.held)
		s.held = append(s.held, nil)
	}
	if slot < 0 {
		var oldest *Function
		for _, other := range s.held {
			if other.idle() && (oldest == nil || other.used.Load() < oldest.used.Load()) {
				oldest = other
			}
		}
		if oldest == nil {
			return 0, false
		}
		slot = int(oldest.slot.Load())
		s.free(oldest, workers)
	}
	s.held[slot] = f
	f.slot.Store(int32(slot))
	return uint32(slot), true
}

// free takes the slot of f back. The workers unload the program before their next call.
func (s *slots) free(f *Function, workers []*worker) {
	slot := f.slot.Load()
	if slot == noSlot {
		return
	}
	f.slot.Store(noSlot)
	s.held[slot] = nil
	for _, w := range workers {
		w.unloadLater(uint32(slot), f)
	}
}
