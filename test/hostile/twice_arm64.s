

#include "textflag.h"

// func split(number, a1, a2, a3, a4, a5 uintptr) (r uintptr)
TEXT ·split(SB), NOSPLIT, $0-56
	MOVD number+0(FP), R8
	MOVD a1+8(FP), R0
	MOVD a2+16(FP), R1
	MOVD a3+24(FP), R2
	MOVD a4+32(FP), R3
	MOVD a5+40(FP), R4
	SVC
	CBNZ R0, old
	MOVD $93, R8 // exit
	SVC
	BRK
old:
	MOVD R0, r+48(FP)
	RET

// func sleep(number, flags, stack, nap uintptr) (r uintptr)
TEXT ·sleep(SB), NOSPLIT, $0-40
	MOVD number+0(FP), R8
	MOVD flags+8(FP), R0
	MOVD stack+16(FP), R1
	MOVD nap+24(FP), R19
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	SVC
	CBNZ R0, old
	MOVD $101, R8 // nanosleep
	MOVD R19, R0
	MOVD $0, R1
	SVC
	MOVD $93, R8 // exit
	MOVD $0, R0
	SVC
	BRK
old:
	MOVD R0, r+32(FP)
	RET

// func poke(at uintptr)
TEXT ·poke(SB), NOSPLIT, $0-8
	MOVD at+0(FP), R0
	MOVD $1, R1
	MOVB R1, (R0)
	RET

// func peek(at uintptr)
TEXT ·peek(SB), NOSPLIT, $0-8
	MOVD at+0(FP), R0
	MOVBU (R0), R1
	RET
