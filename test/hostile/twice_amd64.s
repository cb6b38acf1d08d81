

#include "textflag.h"

// func split(number, a1, a2, a3, a4, a5 uintptr) (r uintptr)
TEXT ·split(SB), NOSPLIT, $0-56
	MOVQ number+0(FP), AX
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	MOVQ a3+24(FP), DX
	MOVQ a4+32(FP), R10
	MOVQ a5+40(FP), R8
	SYSCALL
	TESTQ AX, AX
	JNE old
	MOVL $60, AX // exit
	XORL DI, DI
	SYSCALL
	INT $3
old:
	MOVQ AX, r+48(FP)
	RET

// func sleep(number, flags, stack, nap uintptr) (r uintptr)
TEXT ·sleep(SB), NOSPLIT, $0-40
	MOVQ number+0(FP), AX
	MOVQ flags+8(FP), DI
	MOVQ stack+16(FP), SI
	MOVQ nap+24(FP), R12
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	SYSCALL
	TESTQ AX, AX
	JNE old
	MOVL $35, AX // nanosleep
	MOVQ R12, DI
	XORL SI, SI
	SYSCALL
	MOVL $60, AX // exit
	XORL DI, DI
	SYSCALL
	INT $3
old:
	MOVQ AX, r+32(FP)
	RET

// func poke(at uintptr)
TEXT ·poke(SB), NOSPLIT, $0-8
	MOVQ at+0(FP), AX
	MOVB $1, (AX)
	RET

// func peek(at uintptr)
TEXT ·peek(SB), NOSPLIT, $0-8
	MOVQ at+0(FP), AX
	MOVB (AX), CX
	RET

// func foreign32(number, a1, a2, a3 uintptr) (r uintptr)
TEXT ·foreign32(SB), NOSPLIT, $0-40
	MOVQ number+0(FP), AX
	MOVQ a1+8(FP), BX
	MOVQ a2+16(FP), CX
	MOVQ a3+24(FP), DX
	INT $0x80
	MOVL AX, AX
	MOVQ AX, r+32(FP)
	RET
