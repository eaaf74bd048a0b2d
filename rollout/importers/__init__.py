"""What people have today, turned into ours: Litmus and Flagger manifests, with a report of every loss."""
