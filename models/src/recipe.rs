//! Recipes: what the camera knows of one product, as a folder.
