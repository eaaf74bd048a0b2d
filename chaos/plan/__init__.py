"""What a ChaosRun, a ChaosSchedule and a ChaosSwitch do next: pure."""
