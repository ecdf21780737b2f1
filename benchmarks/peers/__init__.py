"""Programs and servers that a user would write without Inbuilt, as short as they would be."""
