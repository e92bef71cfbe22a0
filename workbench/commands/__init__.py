"""One module for each verb; none loads torch before its verb runs."""
