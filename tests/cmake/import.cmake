# Published configurations: golden specs, sizes, refusals, input of every sort; and the verb.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
remat_test(test_import unit/test_import.c LIBS remat_frontend remat_shared PkgConfig::JANSSON)
target_compile_definitions(test_import PRIVATE REMAT_IMPORT_CASES="${CMAKE_SOURCE_DIR}/tests/cases/import")
