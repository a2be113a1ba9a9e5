"""What can be asked of a live site. Every check answers with a verdict and its evidence; none changes anything."""
