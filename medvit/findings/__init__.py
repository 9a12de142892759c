"""What a scan reports."""
