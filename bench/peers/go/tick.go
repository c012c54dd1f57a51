package main

// tick reads the processor's time stamp counter (tick_amd64.s, tick_arm64.s).
func tick() uint64
