"""What can be counted without measuring time: instructions, registers and spills, dispatched operators."""
