"""What people read: the plan, the progress, the run and its receipt. Pure, but for reading ledgers."""
