; The bare-metal guest: the whole firmware of a machine (q35), 64 KiB, run from the reset vector in flat 32-bit mode.
;
; It fills a region with a pattern, rewrites the first part of it ("hot") at a given rate, walks over all of it to
; compare, and prints on COM1 (numbers are 8 hexadecimal digits):
;   boot PAGES                  first line; PAGES of 4 KiB to fill
;   ready                       the region is filled
;   T<n>                        heartbeat, n grows by one each time; from boot on
;   S<errors> <passes> <pages>  each 100 ms: bad pages found, full comparisons done, hot pages rewritten (modulo 2^32)
;   !<page>                     a page was not as expected; it is counted once and repaired (the first 64 are printed)
;   C<errors>                   answer to c
;   B  Q                        power button pressed; about to power off
; and obeys on COM1:
;   c  compare all now, flat out     f  flip one bit in the last page, and one in the hot region, behind its own back
;   s  stop rewriting                d  rewrite again as configured                q  power off
;
; What a page holds follows from its number and the lap in which it was written last, and the laps follow from two
; numbers elsewhere in memory: so a page that is stale as a whole is found too, not only one that is torn.
; Time is the ACPI PM timer, which stands still while the machine is stopped. The PIT only ends HLT.
; Output goes through a ring, never waiting for the UART: a slow reader must not be mistaken for a stopped guest.

        cpu     x64
        bits    16
        org     0xFFFF0000

; ---- memory map (bytes); zero after boot unless said otherwise
ERRORS          equ 0x1000
PASSES          equ 0x1004
REWRITTEN       equ 0x1008
BEAT            equ 0x100C
MILLISECONDS    equ 0x1010
TIMER           equ 0x1014              ; PM timer when last read
TIMER_REST      equ 0x1018              ; PM timer ticks not yet counted as a millisecond
NEXT_BEAT       equ 0x101C              ; in milliseconds
NEXT_STATUS     equ 0x1020
REWRITE_DUE     equ 0x1024              ; pages, 16.16 fixed point
COMPARE_DUE     equ 0x1028
CURSOR          equ 0x102C              ; next hot page to be rewritten
LAP             equ 0x1030              ; how often the cursor went round
COMPARED        equ 0x1034              ; next page to be compared
FILLED          equ 0x1038              ; pages filled so far
HURRY           equ 0x103C              ; pages left of the comparison that `c` asked for
STILL           equ 0x1040              ; not 0: no rewriting
RING_IN         equ 0x1044              ; 16 bits used: the ring is 64 KiB
RING_OUT        equ 0x1048
STACK_TOP       equ 0x8000
NOISE           equ 0x10000             ; one page of pseudo-random words
RING            equ 0x20000
REGION          equ 0x100000
PAGE            equ 4096
LOCAL_APIC      equ 0xFEE00000

; ---- ports of the q35 chipset
COM1            equ 0x3F8
COM1_STATUS     equ 0x3FD
PM_BASE         equ 0x600
PM1_STATUS      equ PM_BASE
PM1_ENABLE      equ PM_BASE + 2
PM1_CONTROL     equ PM_BASE + 4
PM_TIMER        equ PM_BASE + 8
TICKS_PER_MILLISECOND equ 3580          ; of 3.579545 MHz
POWER_BUTTON    equ 0x100               ; in PM1_STATUS and PM1_ENABLE

rom:
; ---- parameters, written into the image by rom.ts; the values here are only an example
                db "vmferry1"
total_pages     dd 256
hot_pages       dd 0
rewrite_rate    dd 0                    ; pages per millisecond, 16.16
compare_rate    dd 0                    ; pages per millisecond, 16.16
beat_every      dd 10                   ; milliseconds
pit_divisor     dd 11932                ; of 1.193182 MHz; how often HLT ends
power_off_after dd 0                    ; milliseconds; 0: never
flags           dd 0                    ; bit 0: obey the power button

        align   8
gdt             dq 0
                dq 0x00CF9A000000FFFF   ; 08: code, 4 GiB
                dq 0x00CF92000000FFFF   ; 10: data, 4 GiB
gdt_pointer     dw $ - gdt - 1
                dd gdt
        align   8
idt             times 0x20 dq 0         ; an exception has no handler: the machine resets, and the count starts over
                dw timer_interrupt - rom, 0x08, 0x8E00, 0xFFFF
idt_pointer     dw $ - idt - 1
                dd idt

start:
        cli
        o32 lgdt [cs:gdt_pointer - rom]
        mov     eax, 0x11               ; protected mode, caches on
        mov     cr0, eax
        jmp     dword 0x08:protected

        bits    32
protected:
        mov     eax, 0x10
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, STACK_TOP
        mov     eax, 0x200              ; SSE
        mov     cr4, eax
        lidt    [idt_pointer]
        cld
        xor     eax, eax
        mov     edi, 0x1000
        mov     ecx, 0x400
        rep stosd

        ; power management registers to PM_BASE, power button events on
        mov     eax, 0x8000F840         ; LPC bridge 0:1f.0, PMBASE
        mov     ebx, PM_BASE | 1
        call    write_pci
        mov     eax, 0x8000F844         ; ACPI_CNTL: enable
        mov     ebx, 0x80
        call    write_pci
        mov     dx, PM1_ENABLE
        mov     ax, POWER_BUTTON
        out     dx, ax

        ; 8259: vectors from 0x20, automatic end of interrupt, only the timer
        mov     al, 0x11
        out     0x20, al
        mov     al, 0x20
        out     0x21, al
        mov     al, 0x04
        out     0x21, al
        mov     al, 0x03
        out     0x21, al
        mov     al, 0xFE
        out     0x21, al

        ; local APIC: let the 8259's interrupt through
        mov     dword [LOCAL_APIC + 0xF0], 0x1FF
        mov     dword [LOCAL_APIC + 0x350], 0x700

        mov     al, 0x34                ; PIT channel 0, rate generator
        out     0x43, al
        mov     eax, [pit_divisor]
        out     0x40, al
        mov     al, ah
        out     0x40, al

        mov     dx, COM1 + 3            ; UART: 115200 8N1, FIFO on, no interrupts
        mov     al, 0x80
        out     dx, al
        mov     dx, COM1
        mov     al, 1
        out     dx, al
        inc     edx
        mov     al, 0
        out     dx, al
        mov     dx, COM1 + 3
        mov     al, 3
        out     dx, al
        dec     edx
        mov     al, 7
        out     dx, al

        mov     eax, 0x6C078965         ; xorshift32
        mov     edi, NOISE
        mov     ecx, PAGE / 4
.noise: mov     edx, eax
        shl     edx, 13
        xor     eax, edx
        mov     edx, eax
        shr     edx, 17
        xor     eax, edx
        mov     edx, eax
        shl     edx, 5
        xor     eax, edx
        stosd
        loop    .noise

        mov     dx, PM_TIMER
        in      eax, dx
        mov     [TIMER], eax
        mov     esi, text_boot
        call    print
        mov     eax, [total_pages]
        call    print_number
        call    print_end

; ---- for ever: one page of the most urgent work, then look at the clock
work:
        call    serve
        mov     eax, [FILLED]
        cmp     eax, [total_pages]
        jb      .fill
        cmp     dword [HURRY], 0
        jne     .hurry
        cmp     dword [REWRITE_DUE], 0x10000
        jae     .rewrite
        cmp     dword [COMPARE_DUE], 0x10000
        jae     .compare
        sti                             ; takes effect after HLT: no interrupt is lost in between
        hlt
        cli
        jmp     work

.fill:  xor     ecx, ecx
        call    write_page
        mov     eax, [FILLED]
        inc     eax
        mov     [FILLED], eax
        cmp     eax, [total_pages]
        jb      work
        mov     dword [REWRITE_DUE], 0
        mov     dword [COMPARE_DUE], 0
        mov     esi, text_ready
        call    print
        jmp     work

.rewrite:
        sub     dword [REWRITE_DUE], 0x10000
        mov     eax, [CURSOR]
        call    compare_page
        mov     eax, [CURSOR]
        mov     ecx, [LAP]
        inc     ecx
        call    write_page
        inc     dword [REWRITTEN]
        mov     eax, [CURSOR]
        inc     eax
        cmp     eax, [hot_pages]
        jb      .moved
        inc     dword [LAP]
        xor     eax, eax
.moved: mov     [CURSOR], eax
        jmp     work

.compare:
        sub     dword [COMPARE_DUE], 0x10000
        call    compare_next
        jmp     work

.hurry: call    compare_next
        dec     dword [HURRY]
        jnz     work
        mov     al, 'C'
        call    print_character
        mov     eax, [ERRORS]
        call    print_number
        call    print_end
        jmp     work

compare_next:
        mov     eax, [COMPARED]
        call    compare_page
        mov     eax, [COMPARED]
        inc     eax
        cmp     eax, [total_pages]
        jb      .moved
        inc     dword [PASSES]
        xor     eax, eax
.moved: mov     [COMPARED], eax
        ret

; ---- pages. Each word is noise XOR a key made of page number and lap: nothing in it can be compressed away
; eax = page, ecx = lap -> edi = address, xmm1 = key
locate_page:
        mov     edi, eax
        shl     edi, 12
        add     edi, REGION
        imul    eax, eax, 0x9E3779B1
        imul    ecx, ecx, 0x85EBCA6B
        add     eax, ecx
        mov     ecx, eax
        shr     ecx, 15
        xor     eax, ecx
        imul    eax, eax, 0x2C1B3C6D
        mov     ecx, eax
        shr     ecx, 12
        xor     eax, ecx
        movd    xmm1, eax
        pshufd  xmm1, xmm1, 0
        ret

; eax = page, ecx = lap
write_page:
        call    locate_page
        xor     edx, edx
.next:  movdqa  xmm0, [NOISE + edx]
        pxor    xmm0, xmm1
        movdqa  [edi + edx], xmm0
        movdqa  xmm2, [NOISE + edx + 16]
        pxor    xmm2, xmm1
        movdqa  [edi + edx + 16], xmm2
        add     edx, 32
        cmp     edx, PAGE
        jb      .next
        ret

; eax = page: compares it with what it must hold now; counts, reports and repairs it when it differs
compare_page:
        mov     ebx, eax
        xor     ebp, ebp                ; lap: 0 for a cold page, else by the cursor
        cmp     eax, [hot_pages]
        jae     .cold
        mov     ebp, [LAP]
        cmp     eax, [CURSOR]
        adc     ebp, 0                  ; already rewritten in this lap
.cold:  mov     ecx, ebp
        call    locate_page
        pcmpeqd xmm3, xmm3
        xor     edx, edx
.next:  movdqa  xmm0, [NOISE + edx]
        pxor    xmm0, xmm1
        pcmpeqd xmm0, [edi + edx]
        pand    xmm3, xmm0
        movdqa  xmm2, [NOISE + edx + 16]
        pxor    xmm2, xmm1
        pcmpeqd xmm2, [edi + edx + 16]
        pand    xmm3, xmm2
        add     edx, 32
        cmp     edx, PAGE
        jb      .next
        pmovmskb eax, xmm3
        cmp     eax, 0xFFFF
        je      .good
        inc     dword [ERRORS]
        cmp     dword [ERRORS], 64
        ja      .quiet
        mov     al, '!'
        call    print_character
        mov     eax, ebx
        call    print_number
        call    print_end
.quiet: mov     eax, ebx
        mov     ecx, ebp
        call    write_page
.good:  ret

; ---- clock, heartbeat, input, power: does nothing unless a millisecond has passed
serve:
        mov     dx, PM_TIMER
        in      eax, dx
        mov     ecx, eax
        sub     eax, [TIMER]
        and     eax, 0xFFFFFF           ; a 24-bit counter
        mov     [TIMER], ecx
        add     [TIMER_REST], eax
        cmp     dword [TIMER_REST], TICKS_PER_MILLISECOND
        jae     .tick
        ret
.tick:  sub     dword [TIMER_REST], TICKS_PER_MILLISECOND
        inc     dword [MILLISECONDS]
        mov     eax, [COMPARE_DUE]
        mov     ecx, [compare_rate]
        call    accrue
        mov     [COMPARE_DUE], eax
        cmp     dword [STILL], 0
        jne     .still
        mov     eax, [REWRITE_DUE]
        mov     ecx, [rewrite_rate]
        call    accrue
        mov     [REWRITE_DUE], eax
.still: cmp     dword [TIMER_REST], TICKS_PER_MILLISECOND
        jae     .tick

        mov     eax, [MILLISECONDS]
        cmp     eax, [NEXT_BEAT]
        jb      .no_beat
        mov     ecx, [beat_every]
        add     [NEXT_BEAT], ecx
        cmp     eax, [NEXT_BEAT]
        jb      .beat
        add     ecx, eax                ; more than one period late: no burst to catch up
        mov     [NEXT_BEAT], ecx
.beat:  mov     al, 'T'
        call    print_character
        inc     dword [BEAT]
        mov     eax, [BEAT]
        call    print_number
        call    print_end

.no_beat:
        mov     eax, [MILLISECONDS]
        cmp     eax, [NEXT_STATUS]
        jb      .no_status
        add     eax, 100
        mov     [NEXT_STATUS], eax
        mov     al, 'S'
        call    print_character
        mov     eax, [ERRORS]
        call    print_number
        mov     al, ' '
        call    print_character
        mov     eax, [PASSES]
        call    print_number
        mov     al, ' '
        call    print_character
        mov     eax, [REWRITTEN]
        call    print_number
        call    print_end

.no_status:
        call    drain
        mov     dx, COM1_STATUS
        in      al, dx
        test    al, 1
        jz      .no_input
        mov     dx, COM1
        in      al, dx
        cmp     al, 'q'
        je      power_off
        cmp     al, 'c'
        je      .compare_all
        cmp     al, 'f'
        je      .flip
        cmp     al, 's'
        je      .stop
        cmp     al, 'd'
        jne     .no_input
        mov     dword [STILL], 0
        jmp     .no_input
.stop:  mov     byte [STILL], 1
        mov     dword [REWRITE_DUE], 0
        jmp     .no_input
.compare_all:
        mov     dword [COMPARED], 0
        mov     eax, [total_pages]
        mov     [HURRY], eax
        jmp     .no_input
.flip:  mov     eax, [total_pages]
        dec     eax
        call    flip
        cmp     dword [hot_pages], 0
        je      .no_input
        mov     eax, [CURSOR]
        call    flip

.no_input:
        mov     dx, PM1_STATUS
        in      ax, dx
        test    eax, POWER_BUTTON
        jz      .no_button
        mov     ax, POWER_BUTTON        ; writing it back clears it
        out     dx, ax
        mov     al, 'B'
        call    print_character
        call    print_end
        test    byte [flags], 1
        jnz     power_off
.no_button:
        mov     ecx, [power_off_after]
        jecxz   .done
        cmp     [MILLISECONDS], ecx
        jae     power_off
.done:  ret

; eax = due, ecx = rate -> eax = due, at most 50 ms' worth: after a pause no burst that would look like a dirty guest
accrue:
        add     eax, ecx
        imul    ecx, ecx, 50
        add     ecx, 0x10000            ; a slow rate must still reach a whole page
        cmp     eax, ecx
        jbe     .done
        mov     eax, ecx
.done:  ret

; eax = page
flip:
        shl     eax, 12
        xor     byte [REGION + eax + 2024], 0x10
        ret

power_off:
        mov     al, 'Q'
        call    print_character
        call    print_end
        mov     ecx, 100000             ; give up on a reader that takes nothing
.drain: push    ecx
        call    drain
        pop     ecx
        mov     eax, [RING_IN]
        cmp     eax, [RING_OUT]
        loopne  .drain
        mov     dx, PM1_CONTROL
        mov     ax, 1 << 13             ; sleep type 0: S5 on this chipset
        out     dx, ax
.off:   hlt
        jmp     .off

; ---- output
; moves up to one UART FIFO (16 bytes) at a time from the ring, as long as the UART takes them at once
drain:
        mov     eax, [RING_OUT]
        cmp     eax, [RING_IN]
        je      .done
        mov     dx, COM1_STATUS
        in      al, dx
        test    al, 0x20
        jz      .done
        mov     esi, [RING_OUT]
        mov     dx, COM1
        mov     ecx, 16
.next:  cmp     esi, [RING_IN]
        je      .moved
        mov     al, [RING + esi]
        inc     si
        out     dx, al
        loop    .next
.moved: mov     [RING_OUT], esi
        jmp     drain
.done:  ret

; al = character
print_character:
        mov     edi, [RING_IN]
        mov     [RING + edi], al
        inc     di
        mov     [RING_IN], edi
        ret

print_end:
        mov     al, 10
        jmp     print_character

; esi = text, ends with 0
print:
        lodsb
        test    al, al
        jz      .done
        call    print_character
        jmp     print
.done:  ret

; eax = number
print_number:
        mov     ecx, 8
.next:  rol     eax, 4
        push    eax
        and     al, 15
        cmp     al, 10
        sbb     al, 0x69
        das                             ; 0..15 -> '0'..'9', 'A'..'F'
        call    print_character
        pop     eax
        loop    .next
        ret

; eax = configuration address, ebx = value
write_pci:
        mov     dx, 0xCF8
        out     dx, eax
        mov     dl, 0xFC
        mov     eax, ebx
        out     dx, eax
        ret

timer_interrupt:
        iret

text_boot       db "boot ", 0
text_ready      db "ready", 10, 0

program_end:
        times   0x10000 - 16 - ($ - rom) db 0
        bits    16
        jmp     near start              ; reset vector, 0xFFFFFFF0
        align   16, db 0
