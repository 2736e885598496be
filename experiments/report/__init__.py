"""What people and machines get to see of a comparison: table, figure, run folder."""
