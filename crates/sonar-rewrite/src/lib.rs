//! Graph to graph by equality saturation.
