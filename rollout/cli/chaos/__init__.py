"""ChaosRuns, schedules and the switch as the command line shows and changes them. Pure; commands/chaos.py acts."""
